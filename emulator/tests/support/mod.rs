//! A small HTTP client over a bare TCP stream, so that a test sees exactly what is on the wire.

// Each test file is a crate of its own and uses a part of this.
#![allow(dead_code, unreachable_pub)]

use std::io;

use client_vpn_emulator::Emulator;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

pub const ENDPOINT: &str = "cvpn-endpoint-0a1b2c3d4e5f60718";

pub const GATE: &str = "arn:aws:lambda:eu-west-1:123456789012:function:AWSClientVPN-gate";

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Answer {
    /// The texts of all elements of that name.
    pub fn texts(&self, name: &str) -> Vec<&str> {
        let (open, close) = (format!("<{name}>"), format!("</{name}>"));
        self.body.split(&open).skip(1).map(|rest| rest.split(&close).next().unwrap()).collect()
    }

    pub fn code(&self) -> &str {
        self.texts("Code").first().copied().unwrap_or_default()
    }
}

/// Sends one request; an error when the connection closes before a whole answer has come.
pub async fn send(emulator: &Emulator, method: &str, path: &str, body: &str) -> io::Result<Answer> {
    let url = emulator.url();
    let host = url.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(host).await?;
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await?;
    let text = String::from_utf8(bytes).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").ok_or(io::ErrorKind::UnexpectedEof)?;
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Ok(Answer { status, head: head.to_ascii_lowercase(), body: body.to_owned() })
}

/// Asks the EC2 API.
pub async fn ask(emulator: &Emulator, action: &str, parameters: &str) -> io::Result<Answer> {
    send(emulator, "POST", "/", &format!("Action={action}&Version=2016-11-15&{parameters}")).await
}

/// Lists the connections of [`ENDPOINT`].
pub async fn list(emulator: &Emulator) -> Answer {
    let parameters = format!("ClientVpnEndpointId={ENDPOINT}");
    ask(emulator, "DescribeClientVpnConnections", &parameters).await.unwrap()
}

/// Attaches this Lambda function to [`ENDPOINT`] as its connect handler.
pub async fn attach(emulator: &Emulator, function: &str) -> io::Result<Answer> {
    let options = format!("ClientConnectOptions.Enabled=true&ClientConnectOptions.LambdaFunctionArn={function}");
    ask(emulator, "ModifyClientVpnEndpoint", &format!("ClientVpnEndpointId={ENDPOINT}&{options}")).await
}

/// Ends connections of [`ENDPOINT`].
pub async fn terminate(emulator: &Emulator, target: &str) -> io::Result<Answer> {
    let parameters = format!("ClientVpnEndpointId={ENDPOINT}&{target}");
    ask(emulator, "TerminateClientVpnConnections", &parameters).await
}

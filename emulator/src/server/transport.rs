//! A TCP connection that can be closed in place of an answer.
//!
//! An HTTP server answers every request it has read; a lost answer has to happen one layer below. The stream refuses
//! to write once it has been told to hang up, so that the client sees the connection close before the first byte of
//! an answer.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};

/// Ends the TCP connection that a request came in on.
#[derive(Debug, Clone, Default)]
pub(super) struct HangUp(Arc<AtomicBool>);

impl HangUp {
    /// Nothing more is sent on this connection.
    pub(super) fn hang_up(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    fn check(&self) -> io::Result<()> {
        if self.0.load(Ordering::SeqCst) { Err(io::ErrorKind::ConnectionReset.into()) } else { Ok(()) }
    }
}

impl Connected<IncomingStream<'_, HangUpListener>> for HangUp {
    fn connect_info(stream: IncomingStream<'_, HangUpListener>) -> Self {
        stream.io().hang_up.clone()
    }
}

/// Accepts connections that can hang up.
pub(super) struct HangUpListener(pub(super) TcpListener);

impl Listener for HangUpListener {
    type Io = HangUpStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        // Axum's own accept goes on after errors, as a listener must.
        let (stream, address) = Listener::accept(&mut self.0).await;
        // Small answers, one at a time: waiting to fill a packet only slows the client down.
        let _ = stream.set_nodelay(true);
        (HangUpStream { stream, hang_up: HangUp::default() }, address)
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.0.local_addr()
    }
}

/// A TCP connection and its switch.
pub(super) struct HangUpStream {
    stream: TcpStream,
    hang_up: HangUp,
}

impl AsyncRead for HangUpStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.hang_up.check()?;
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for HangUpStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.hang_up.check()?;
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.hang_up.check()?;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

//! Whose word is taken for who is at the other end of a TLS connection.
//!
//! A function reads no certificates from the machine that it starts on: Mozilla's whole set is compiled in, which every
//! AWS endpoint's chain ends in. Whoever stands behind a proxy that shows certificates of its own names their file in
//! `AWS_CA_BUNDLE`, as for every AWS tool, and it takes the place of that set.

use std::path::PathBuf;

use aws_smithy_http_client::tls::{TlsContext, TrustStore};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use thiserror::Error;

/// Mozilla's set, written by `build.rs`.
static AUTHORITIES: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/authorities.pem"));

/// Names a file of certificates
/// (<https://docs.aws.amazon.com/cli/latest/userguide/cli-configure-envvars.html>).
const BUNDLE: &str = "AWS_CA_BUNDLE";

/// The certificate authorities that are trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trust {
    /// Mozilla's, compiled in.
    BuiltIn,
    /// Those that the machine trusts.
    Machine,
    /// These certificates, in PEM, and no others.
    Bundle(Vec<u8>),
}

/// `AWS_CA_BUNDLE` does not name what it should.
#[derive(Debug, Error)]
#[error("{BUNDLE} names {}, {problem}; name a file with at least one certificate in PEM, or remove the variable", path.display())]
pub struct TrustError {
    path: PathBuf,
    problem: String,
}

impl Trust {
    /// What a function trusts.
    ///
    /// # Errors
    /// Where `AWS_CA_BUNDLE` names a file that can't be read, that holds no certificate, or one that can't be used.
    pub fn of_a_function() -> Result<Self, TrustError> {
        Self::named_or(std::env::var_os(BUNDLE).map(PathBuf::from), Self::BuiltIn)
    }

    /// What the command line trusts: the machine that it runs on is a person's, and is set up for where that person is.
    ///
    /// # Errors
    /// As for a function.
    #[cfg(feature = "cli")]
    pub fn of_a_person() -> Result<Self, TrustError> {
        Self::named_or(std::env::var_os(BUNDLE).map(PathBuf::from), Self::Machine)
    }

    /// What this file holds, where one is named.
    fn named_or(path: Option<PathBuf>, otherwise: Self) -> Result<Self, TrustError> {
        let Some(path) = path.filter(|path| !path.as_os_str().is_empty()) else { return Ok(otherwise) };
        match std::fs::read(&path).map_err(|error| format!("which can't be read: {error}")).and_then(checked) {
            Ok(pem) => Ok(Self::Bundle(pem)),
            Err(problem) => Err(TrustError { path, problem }),
        }
    }

    pub(crate) fn context(&self) -> TlsContext {
        let store = match self {
            Self::BuiltIn => TrustStore::empty().with_pem_certificate(AUTHORITIES),
            Self::Machine => TrustStore::default(),
            Self::Bundle(pem) => TrustStore::empty().with_pem_certificate(pem.as_slice()),
        };
        // Building it can't fail; were that to change, what the machine trusts is no worse.
        TlsContext::builder().with_trust_store(store).build().unwrap_or_default()
    }
}

/// The same bytes, if they are certificates: the HTTP client takes that for granted.
fn checked(pem: Vec<u8>) -> Result<Vec<u8>, String> {
    let mut store = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|error| format!("in which something is no certificate: {error}"))?;
        store.add(certificate).map_err(|error| format!("in which a certificate can't be used: {error}"))?;
    }
    if store.is_empty() { Err("which holds no certificate".to_owned()) } else { Ok(pem) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(file: &str, content: &[u8]) -> Result<Trust, TrustError> {
        let path = std::env::temp_dir().join(format!("vpn-revoker-trust-{}-{file}", std::process::id()));
        std::fs::write(&path, content).unwrap();
        let trust = Trust::named_or(Some(path.clone()), Trust::BuiltIn);
        std::fs::remove_file(path).unwrap();
        trust
    }

    /// One certificate of the set.
    fn one() -> Vec<u8> {
        let text = std::str::from_utf8(AUTHORITIES).unwrap();
        let end = "-----END CERTIFICATE-----\n";
        text.split_inclusive(end).next().unwrap().as_bytes().to_vec()
    }

    #[test]
    fn the_whole_set_is_built_in_and_each_of_it_can_be_used() {
        let mut store = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(AUTHORITIES) {
            store.add(certificate.unwrap()).unwrap();
        }
        assert_eq!(store.len(), webpki_root_certs::TLS_SERVER_ROOT_CERTS.len());
        let names =
            String::from_utf8_lossy(&store.roots.iter().flat_map(|root| root.subject.to_vec()).collect::<Vec<_>>())
                .into_owned();
        for authority in ["Amazon Root CA 1", "Amazon Root CA 2", "Amazon Root CA 3", "Amazon Root CA 4"] {
            assert!(names.contains(authority), "{authority} signs AWS's own endpoints");
        }
    }

    #[test]
    fn a_bundle_takes_the_place_of_the_set() {
        assert_eq!(named("one", &one()).unwrap(), Trust::Bundle(one()));
        assert_eq!(Trust::named_or(None, Trust::BuiltIn).unwrap(), Trust::BuiltIn);
        assert_eq!(Trust::named_or(Some(PathBuf::new()), Trust::Machine).unwrap(), Trust::Machine);
    }

    #[test]
    fn a_bundle_that_holds_no_certificates_is_said_so_at_the_start() {
        let broken = String::from_utf8(one()).unwrap().replacen("MII", "AAA", 1);
        for (file, content, problem) in [
            ("empty", &b""[..], "holds no certificate"),
            ("text", b"hello", "holds no certificate"),
            ("broken", broken.as_bytes(), "can't be used"),
            ("cut-off", b"-----BEGIN CERTIFICATE-----\nMII", "is no certificate"),
        ] {
            let error = named(file, content).unwrap_err().to_string();
            assert!(error.contains(problem) && error.contains(file), "{error}");
        }
        let error = Trust::named_or(Some("/does/not/exist".into()), Trust::BuiltIn).unwrap_err().to_string();
        assert!(error.contains("/does/not/exist") && error.contains("No such file"), "{error}");
    }
}

//! Trusted certificates: those of the system or of a file.

use crate::units::file;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Certificates from a file that replace the trusted certificates of the system.
#[derive(Clone)]
pub(crate) struct CaBundle {
    certificates: Arc<[CertificateDer<'static>]>,
    pub(super) roots: Arc<RootCertStore>,
}

/// Why a file of certificates cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{name}: cannot use `{}`: {reason}", path.display())]
pub(crate) struct CaBundleError {
    /// Variable or key of the profile.
    pub(crate) name: String,
    /// The file.
    pub(crate) path: PathBuf,
    /// Reason.
    pub(crate) reason: String,
}

impl CaBundle {
    /// Reads a file in PEM format; `name` is the setting that selects it.
    ///
    /// # Errors
    /// If the file cannot be read, contains no certificate, or contains one that is invalid.
    pub(crate) fn read(name: &str, path: &Path) -> Result<Self, CaBundleError> {
        let invalid = |reason: String| CaBundleError { name: name.to_owned(), path: path.to_owned(), reason };
        let bytes = file::open_regular(path).and_then(file::read_bytes).map_err(|error| invalid(error.to_string()))?;
        let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
        // The parser's own message quotes the file.
        let certificates = read.map_err(|_| invalid("a certificate in it is not in PEM format".into()))?;
        if certificates.is_empty() {
            return Err(invalid("it contains no certificate in PEM format".into()));
        }
        let mut roots = RootCertStore::empty();
        for (index, certificate) in certificates.iter().enumerate() {
            let nth = index + 1;
            roots
                .add(certificate.clone())
                .map_err(|error| invalid(format!("certificate {nth} is invalid: {error}")))?;
        }
        Ok(Self { certificates: certificates.into(), roots: Arc::new(roots) })
    }

    /// Returns the certificates in DER format.
    pub(crate) fn certificates(&self) -> impl Iterator<Item = &[u8]> {
        self.certificates.iter().map(AsRef::as_ref)
    }
}

impl fmt::Debug for CaBundle {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "CaBundle({} certificates)", self.certificates.len())
    }
}

//! Roots of trust in one file.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

/// The mock's authority, and behind it those that the system trusts: variables that name a file of roots
/// replace the system's, and a program may also talk to others.
pub(super) fn with_system_roots(ca_pem: &str) -> String {
    let mut bundle = ca_pem.to_owned();
    // Roots that cannot be read are as good as none: the mock is reached without them.
    for certificate in rustls_native_certs::load_native_certs().certs {
        push_pem(&mut bundle, &certificate);
    }
    bundle
}

fn push_pem(out: &mut String, der: &[u8]) {
    let text = BASE64_STANDARD.encode(der);
    out.push_str("-----BEGIN CERTIFICATE-----\n");
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (line, more) = rest.split_at(rest.len().min(LINE));
        out.push_str(line);
        out.push('\n');
        rest = more;
    }
    out.push_str("-----END CERTIFICATE-----\n");
}

/// Characters in a line of PEM (RFC 7468).
const LINE: usize = 64;

#[cfg(test)]
mod tests {
    use tokio_rustls::rustls::pki_types::CertificateDer;
    use tokio_rustls::rustls::pki_types::pem::PemObject as _;

    use super::*;

    #[test]
    fn what_is_written_reads_back() {
        for length in [0, 1, 47, 48, 49, 1000] {
            let der: Vec<u8> = (0..length).map(|number| number as u8).collect();
            let mut pem = String::new();
            push_pem(&mut pem, &der);
            push_pem(&mut pem, &[1]);
            assert!(pem.lines().all(|line| line.len() <= LINE));
            let all: Vec<_> = CertificateDer::pem_slice_iter(pem.as_bytes()).flatten().collect();
            assert_eq!(all.iter().map(|der| &der[..]).collect::<Vec<_>>(), [&der[..], &[1]]);
        }
    }
}

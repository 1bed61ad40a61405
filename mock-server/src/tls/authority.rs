//! A certificate authority that can speak for fal's hosts and for this machine only.

use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    NameConstraints, SanType, SerialNumber, date_time_ymd,
};
use sha2::{Digest as _, Sha256};
use tokio_rustls::rustls::pki_types::CertificateDer;

use super::home::{make_private_dir, replace, write_private};
use crate::render::{HEX, civil};

/// The authority. Everything about it but the signature of its certificate follows from its key, so the key
/// is all that must be kept.
pub(super) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
    /// The key of every certificate that it gives out; never kept.
    leaf_key: KeyPair,
}

impl Authority {
    /// A new one.
    pub(super) fn generate() -> Self {
        let pair = || KeyPair::generate().expect("the system has random numbers");
        Self::from_keys(pair(), pair())
    }

    /// The one kept in `dir`; made there first if there is none.
    pub(super) fn kept_in(dir: &Path) -> io::Result<Self> {
        make_private_dir(dir)?;
        let key_file = dir.join(KEY_FILE);
        let key = match read_key(&key_file)? {
            Some(key) => key,
            None => {
                let key = KeyPair::generate().map_err(io::Error::other)?;
                match write_private(&key_file, key.serialize_pem().as_bytes()) {
                    Ok(()) => key,
                    // Another mock started in this moment and was faster.
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                        read_key(&key_file)?.ok_or(error)?
                    }
                    Err(error) => return Err(error),
                }
            }
        };
        let mut authority = Self::from_keys(key, KeyPair::generate().map_err(io::Error::other)?);
        let file = dir.join(CERTIFICATE_FILE);
        match fs::read_to_string(&file) {
            // The file that people have installed stays as it is.
            Ok(pem) if authority.is_own(&pem) => authority.pem = pem,
            _ => replace(&file, authority.pem.as_bytes())?,
        }
        Ok(authority)
    }

    fn from_keys(key: KeyPair, leaf_key: KeyPair) -> Self {
        let params = own_params(&key);
        let certificate = params.self_signed(&key).expect("its names are well-formed");
        Self { pem: certificate.pem(), issuer: Issuer::new(params, key), leaf_key }
    }

    /// Its certificate.
    pub(super) fn pem(&self) -> &str {
        &self.pem
    }

    /// The private key of every certificate that [`Self::certificate`] gives, as PKCS #8.
    pub(super) fn leaf_key(&self) -> &[u8] {
        self.leaf_key.serialized_der()
    }

    /// A certificate that is valid from the day before `now` for a year.
    pub(super) fn certificate(
        &self,
        names: &[&str],
        addresses: &[IpAddr],
        now: SystemTime,
    ) -> io::Result<CertificateDer<'static>> {
        let mut params = CertificateParams::default();
        let mut serial = Sha256::new();
        serial.update(self.leaf_key.public_key_raw());
        for name in names {
            serial.update(name.as_bytes());
            params
                .subject_alt_names
                .push(SanType::DnsName((*name).try_into().map_err(io::Error::other)?));
        }
        for address in addresses {
            serial.update(address.to_string());
            params.subject_alt_names.push(SanType::IpAddress(*address));
        }
        let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let since = since.as_secs().clamp(DAY.as_secs(), LAST_SECOND);
        serial.update(since.to_be_bytes());
        // Two certificates of one authority may not share a serial number. Positive, 20 bytes at most.
        let mut serial: [u8; 32] = serial.finalize().into();
        serial[0] = serial[0] & 0x7f | 0x40;
        params.serial_number = Some(SerialNumber::from_slice(&serial[..16]));
        // No common name: where there is one, some clients hold it against the authority's constraints.
        params.distinguished_name = organization();
        let start_of_day = |seconds: u64| {
            let (year, month, day) = civil(seconds / DAY.as_secs());
            let small = |number: u64| u8::try_from(number).expect("a month or a day");
            let year = i32::try_from(year).expect("at most 9999");
            date_time_ymd(year, small(month), small(day))
        };
        params.not_before = start_of_day(since - DAY.as_secs());
        params.not_after = start_of_day(since + VALIDITY.as_secs());
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let certificate =
            params.signed_by(&self.leaf_key, &self.issuer).map_err(io::Error::other)?;
        Ok(certificate.into())
    }

    /// Whether this is a certificate of its key, and good for all its domains.
    fn is_own(&self, pem: &str) -> bool {
        use tokio_rustls::rustls::pki_types::pem::PemObject as _;

        let Ok(der) = CertificateDer::from_pem_slice(pem.as_bytes()) else { return false };
        let has = |part: &[u8]| der.windows(part.len()).any(|window| window == part);
        has(self.issuer.key().public_key_raw()) && DOMAINS.iter().all(|name| has(name.as_bytes()))
    }
}

/// What the authority's own certificate says.
fn own_params(key: &KeyPair) -> CertificateParams {
    let mut params = CertificateParams::default();
    let digest: [u8; 32] = Sha256::digest(key.public_key_raw()).into();
    let mut name = "fal-mock local CA ".to_owned();
    for byte in &digest[..4] {
        name.push(char::from(HEX[usize::from(byte >> 4)]));
        name.push(char::from(HEX[usize::from(byte & 15)]));
    }
    params.distinguished_name = organization();
    // With a part of the key: clients that know several authorities find the right one by its name.
    params.distinguished_name.push(DnType::CommonName, name);
    (params.not_before, params.not_after) =
        (date_time_ymd(2020, 1, 1), date_time_ymd(2049, 12, 31));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    // Whoever steals the key can play fal to the person who trusts it, and nobody else.
    let names = DOMAINS.iter().map(|name| GeneralSubtree::DnsName((*name).to_owned()));
    let nets = NETS.iter().map(|(net, bits)| {
        GeneralSubtree::IpAddress(CidrSubnet::from_addr_prefix(
            net.parse().expect("an address"),
            *bits,
        ))
    });
    params.name_constraints = Some(NameConstraints {
        permitted_subtrees: names.chain(nets).collect(),
        excluded_subtrees: Vec::new(),
    });
    params
}

fn organization() -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::OrganizationName, "fal-mock");
    name
}

/// The key in a file that only its owner can read; `None` where there is no file.
fn read_key(file: &Path) -> io::Result<Option<KeyPair>> {
    let problem = |what: &str| {
        io::Error::new(io::ErrorKind::InvalidData, format!("{}: {what}", file.display()))
    };
    let metadata = match fs::metadata(file) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;

        if metadata.permissions().mode() & 0o077 != 0 {
            return Err(problem(
                "others may read this key: delete it, or take their rights with `chmod 600`",
            ));
        }
    }
    if metadata.len() > KEY_BYTES_MAX {
        return Err(problem("this is no key: delete it and a new one is made"));
    }
    let pem = fs::read_to_string(file)?;
    match KeyPair::from_pem(&pem) {
        Ok(key) => Ok(Some(key)),
        Err(_) => Err(problem("this is no key: delete it and a new one is made")),
    }
}

/// Domains below which it may speak for hosts: fal's, and this machine.
const DOMAINS: [&str; 5] = ["fal.run", "fal.ai", "fal.media", "falrun.com", "localhost"];

/// Networks in which it may speak for addresses: this machine and private ones.
const NETS: [(&str, u8); 7] = [
    ("127.0.0.0", 8),
    ("10.0.0.0", 8),
    ("172.16.0.0", 12),
    ("192.168.0.0", 16),
    ("::1", 128),
    ("fc00::", 7),
    ("fe80::", 10),
];

const CERTIFICATE_FILE: &str = "ca.pem";
const KEY_FILE: &str = "ca-key.pem";

/// A key takes about 240 bytes.
const KEY_BYTES_MAX: u64 = 16 << 10;

/// 9998-01-01: the clock of a machine may be anywhere, and certificates end with the year 9999.
const LAST_SECOND: u64 = 253_339_228_800;

const DAY: Duration = Duration::from_secs(86_400);

/// Clients of Apple refuse more than 825 days, and 398 in some cases.
const VALIDITY: Duration = Duration::from_secs(365 * 86_400);

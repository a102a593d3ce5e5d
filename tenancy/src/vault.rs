//! Secrets at rest: sealed with a master key that is never in the database (XChaCha20-Poly1305, a random nonce each).
//! A sealed text says which key sealed it, and it opens only in the row and for the purpose that it was sealed for.
//!
//! It doesn't know the database: see [`crate::sealing`]. Passwords and tokens need no vault, of those only hashes are kept.

use crate::secret::{Secret, random_hex};
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use parking_lot::RwLock;
use sha2::{Digest, Sha256};
use std::fmt;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Bytes of a master key.
pub const MASTER_KEY_BYTES: usize = 32;
/// Master keys at the same time: the one that seals, and those before it that still open something.
pub const MASTER_KEYS_MAX: usize = 8;
/// Bytes of a nonce; random ones of this length do not meet.
const NONCE_BYTES: usize = 24;
/// What a sealed text begins with.
const MARK: &str = "sealed:";

/// What a secret is sealed for. A sealed text opens for no other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// The secret of a key pair; its row is `APP/KEY`.
    AppSecret,
    /// The secret of the dashboard's own app; its row is its name.
    Instance,
    /// The headers of a webhook endpoint; its row is the endpoint.
    WebhookHeaders,
    /// What a person's authenticator app shares with us; its row is the person.
    SecondFactor,
    /// The link of a mail that waits; its row is the mail's id.
    MailLink,
    /// An answer of the management API that may come again; its row is `ACCOUNT/NAME`.
    ApiAnswer,
}

impl Purpose {
    fn name(self) -> &'static str {
        match self {
            Purpose::AppSecret => "app_keys.secret",
            Purpose::Instance => "instance.value",
            Purpose::WebhookHeaders => "webhook_endpoints.headers",
            Purpose::SecondFactor => "second_factors.secret",
            Purpose::MailLink => "mail_outbox.link",
            Purpose::ApiAnswer => "api_answers.answer",
        }
    }
}

/// Why the vault did not do it.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// This database was opened without a master key.
    #[error("there is no master key to seal secrets with")]
    NoKey,
    /// A secret is sealed with a key that is not here.
    #[error("a secret is sealed with the master key {0}, which is not here")]
    UnknownKey(String),
    /// The text was changed, or moved here from another row.
    #[error("a sealed secret can't be opened: it was changed, or belongs to another row")]
    Broken,
    /// Not 64 hex digits, or too many keys.
    #[error(
        "a master key has 64 hex digits; up to {MASTER_KEYS_MAX} of them, separated by commas, the one that seals first"
    )]
    KeyInvalid,
    /// The file of master keys could not be read or made.
    #[error("the file of the master key, {0}: {1}")]
    File(PathBuf, std::io::Error),
}

struct MasterKey {
    id: String,
    cipher: XChaCha20Poly1305,
}

/// The first seals, all open.
type Ring = Vec<MasterKey>;

/// The master keys. Cloning is cheap and shares them.
#[derive(Clone)]
pub struct Vault(Arc<Inner>);

struct Inner {
    ring: RwLock<Ring>,
    /// Read again when a secret is sealed with a key that is not here: another process may have changed the master key.
    file: Option<PathBuf>,
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Vault({:?})", self.key_ids())
    }
}

impl Vault {
    fn new(ring: Ring, file: Option<PathBuf>) -> Vault {
        Vault(Arc::new(Inner { ring: RwLock::new(ring), file }))
    }

    /// A vault without a key: it neither seals nor opens.
    pub fn none() -> Vault {
        Vault::new(Ring::new(), None)
    }

    /// A vault with a key that nobody else has and that ends with this process: for databases that do so too.
    pub fn fresh() -> Vault {
        let ring = parse(&random_hex::<MASTER_KEY_BYTES>()).unwrap_or_default();
        Vault::new(ring, None)
    }

    /// The keys of a setting: each 64 hex digits, separated by commas or space; the first seals, the others only open.
    pub fn parse(text: &str) -> Result<Vault, VaultError> {
        Ok(Vault::new(parse(text)?, None))
    }

    /// The keys of a file, one a line. `None` if there is no such file.
    pub fn read_file(path: &Path) -> Result<Option<Vault>, VaultError> {
        match std::fs::read_to_string(path) {
            Ok(text) => Ok(Some(Vault::new(parse(&text)?, Some(path.to_owned())))),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(VaultError::File(path.to_owned(), error)),
        }
    }

    /// Makes a file with a new key, mode 0600, and missing folders with 0700. If another process was quicker, its key is taken.
    pub fn make_file(path: &Path) -> Result<Vault, VaultError> {
        // With PostgreSQL nothing else may have made the data folder yet.
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
            made.map_err(|error| VaultError::File(path.to_owned(), error))?;
        }
        // The whole file appears at once: nobody reads half a key.
        let made = write_beside(path, &format!("{}\n", random_hex::<MASTER_KEY_BYTES>())).and_then(|new| {
            let linked = std::fs::hard_link(&new, path);
            std::fs::remove_file(&new)?;
            match linked {
                Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
                _ => Ok(()),
            }
        });
        made.map_err(|error| VaultError::File(path.to_owned(), error))?;
        Vault::read_file(path)?.ok_or(VaultError::NoKey)
    }

    /// Makes a file, mode 0600, of keys that are there already. Error: there is such a file.
    pub(crate) fn write_file(path: &Path, keys: &Secret) -> Result<(), VaultError> {
        parse(keys.expose())?;
        let made = write_beside(path, keys.expose()).and_then(|new| {
            let linked = std::fs::hard_link(&new, path);
            std::fs::remove_file(&new)?;
            linked
        });
        made.map_err(|error| VaultError::File(path.to_owned(), error))
    }

    /// Puts a new key before those of this vault's file, and uses it from now on; gives its id. Of the keys before, the one
    /// that sealed until now stays, and those `in_use`. A running server seals with the new key from then on, too.
    /// Error: the vault has no file, for its keys are a setting.
    pub fn rotate_file(&self, in_use: &[String]) -> Result<String, VaultError> {
        let path = self.0.file.clone().ok_or(VaultError::NoKey)?;
        let as_file = |error| VaultError::File(path.clone(), error);
        let old = std::fs::read_to_string(&path).map_err(as_file)?;
        let keys = parse(&old)?;
        let mut text = random_hex::<MASTER_KEY_BYTES>();
        for (at, (piece, key)) in pieces(&old).zip(&keys).enumerate() {
            if at == 0 || in_use.contains(&key.id) {
                text = format!("{text}\n{piece}");
            }
        }
        let ring = parse(&text)?;
        let id = ring.first().map(|key| key.id.clone()).ok_or(VaultError::NoKey)?;
        write_beside(&path, &(text + "\n")).and_then(|new| std::fs::rename(new, &path)).map_err(as_file)?;
        *self.0.ring.write() = ring;
        Ok(id)
    }

    /// The names of the keys, the one that seals first. A name says nothing about its key.
    pub fn key_ids(&self) -> Vec<String> {
        self.0.ring.read().iter().map(|key| key.id.clone()).collect()
    }

    /// The file that the keys come from.
    pub fn file(&self) -> Option<&Path> {
        self.0.file.as_deref()
    }

    /// The name of the key that seals.
    pub fn sealing_id(&self) -> Result<String, VaultError> {
        self.0.ring.read().first().map(|key| key.id.clone()).ok_or(VaultError::NoKey)
    }

    /// Is the key of this name here, now that the file was read again?
    pub fn knows(&self, id: &str) -> bool {
        self.opens(id) || (self.read_again() && self.opens(id))
    }

    fn opens(&self, id: &str) -> bool {
        self.0.ring.read().iter().any(|key| key.id == id)
    }

    fn read_again(&self) -> bool {
        let ring = self.0.file.as_ref().and_then(|path| std::fs::read_to_string(path).ok());
        match ring.map(|text| parse(&text)) {
            Some(Ok(ring)) => {
                *self.0.ring.write() = ring;
                true
            }
            _ => false,
        }
    }

    /// Seals a secret for one row: `sealed:KEY:HEX`.
    pub fn seal(&self, purpose: Purpose, row: &str, clear: &Secret) -> Result<String, VaultError> {
        // Sealing is rare, and must not use a key that was rotated out meanwhile.
        self.read_again();
        let mut nonce = [0u8; NONCE_BYTES];
        hex::decode_to_slice(random_hex::<NONCE_BYTES>(), &mut nonce).map_err(|_| VaultError::Broken)?;
        let ring = self.0.ring.read();
        let key = ring.first().ok_or(VaultError::NoKey)?;
        let aad = bound_to(purpose, row, &key.id);
        let payload = Payload { msg: clear.expose().as_bytes(), aad: aad.as_bytes() };
        let sealed = key.cipher.encrypt(&XNonce::from(nonce), payload).map_err(|_| VaultError::Broken)?;
        Ok(format!("{MARK}{}:{}{}", key.id, hex::encode(nonce), hex::encode(sealed)))
    }

    /// Opens what [`Vault::seal`] gave for the same purpose and row.
    pub fn open(&self, purpose: Purpose, row: &str, sealed: &str) -> Result<Secret, VaultError> {
        let (id, bytes) = split(sealed).ok_or(VaultError::Broken)?;
        if !self.knows(id) {
            return Err(VaultError::UnknownKey(id.to_owned()));
        }
        let ring = self.0.ring.read();
        let key = ring.iter().find(|key| key.id == id).ok_or(VaultError::NoKey)?;
        let bytes = hex::decode(bytes).map_err(|_| VaultError::Broken)?;
        let (nonce, sealed) = bytes.split_first_chunk::<NONCE_BYTES>().ok_or(VaultError::Broken)?;
        let aad = bound_to(purpose, row, id);
        let payload = Payload { msg: sealed, aad: aad.as_bytes() };
        let clear = key.cipher.decrypt(&XNonce::from(*nonce), payload).map_err(|_| VaultError::Broken)?;
        String::from_utf8(clear).map(Secret::new).map_err(|_| VaultError::Broken)
    }
}

/// The name of the key that a text was sealed with; `None` if it is no sealed text.
pub fn sealed_with(text: &str) -> Option<&str> {
    split(text).map(|(id, _)| id)
}

fn split(sealed: &str) -> Option<(&str, &str)> {
    sealed.strip_prefix(MARK)?.split_once(':')
}

fn bound_to(purpose: Purpose, row: &str, key_id: &str) -> String {
    format!("{}\0{row}\0{key_id}", purpose.name())
}

fn pieces(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| c == ',' || c.is_whitespace()).filter(|piece| !piece.is_empty())
}

fn parse(text: &str) -> Result<Ring, VaultError> {
    let ring: Ring = pieces(text)
        .take(MASTER_KEYS_MAX + 1)
        .map(|piece| {
            let mut bytes = [0u8; MASTER_KEY_BYTES];
            hex::decode_to_slice(piece, &mut bytes).map_err(|_| VaultError::KeyInvalid)?;
            let digest = Sha256::new().chain_update(b"fanfare master key\0").chain_update(bytes).finalize();
            Ok(MasterKey { id: hex::encode(&digest[..4]), cipher: XChaCha20Poly1305::new(&bytes.into()) })
        })
        .collect::<Result<_, VaultError>>()?;
    match ring.len() {
        1..=MASTER_KEYS_MAX => Ok(ring),
        _ => Err(VaultError::KeyInvalid),
    }
}

/// Writes a file that only its owner reads, under a name of its own in the same folder.
fn write_beside(path: &Path, text: &str) -> std::io::Result<PathBuf> {
    let new = path.with_extension(format!("new-{}", random_hex::<8>()));
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    Ok(new)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn row() -> (Purpose, &'static str) {
        (Purpose::AppSecret, "1001/abc")
    }

    #[test]
    fn a_sealed_secret_opens_in_its_own_row_and_for_its_purpose_only() {
        let vault = Vault::fresh();
        let (purpose, name) = row();
        let clear = Secret::new("s3cr3t");
        let sealed = vault.seal(purpose, name, &clear).unwrap();
        assert!(!sealed.contains("s3cr3t"));
        assert_eq!(sealed_with(&sealed), Some(&*vault.sealing_id().unwrap()));
        assert_eq!(vault.open(purpose, name, &sealed).unwrap(), clear);
        assert_ne!(vault.seal(purpose, name, &clear).unwrap(), sealed, "a nonce of its own");
        for (purpose, name) in [(purpose, "1001/abd"), (purpose, "1002/abc"), (Purpose::Instance, name)] {
            assert!(matches!(vault.open(purpose, name, &sealed), Err(VaultError::Broken)));
        }
    }

    #[test]
    fn a_changed_text_and_a_strangers_key_are_told_apart() {
        let (vault, other) = (Vault::fresh(), Vault::fresh());
        let (purpose, name) = row();
        let sealed = vault.seal(purpose, name, &Secret::new("s3cr3t")).unwrap();
        let mut bytes = sealed.clone().into_bytes();
        let last = bytes.len() - 1;
        bytes[last] = if bytes[last] == b'0' { b'1' } else { b'0' };
        let changed = String::from_utf8(bytes).unwrap();
        for broken in [&*changed, "", "s3cr3t", "sealed:", &sealed[..sealed.len() - 2], &sealed[..20]] {
            let error = vault.open(purpose, name, broken).unwrap_err();
            assert!(matches!(error, VaultError::Broken), "{broken}: {error}");
        }
        let error = other.open(purpose, name, &sealed).unwrap_err();
        assert!(matches!(error, VaultError::UnknownKey(_)), "{error}");
        assert!(matches!(Vault::none().seal(purpose, name, &Secret::new("x")), Err(VaultError::NoKey)));
    }

    #[test]
    fn keys_of_a_setting_are_checked_and_never_shown() {
        let (one, two) = ("a1".repeat(32), "b2".repeat(32));
        let vault = Vault::parse(&format!("{one}, {two}\n")).unwrap();
        assert_eq!(vault.key_ids().len(), 2);
        assert!(!format!("{vault:?}").contains("a1a1"));
        let old = Vault::parse(&two).unwrap();
        let (purpose, name) = row();
        let sealed = old.seal(purpose, name, &Secret::new("s3cr3t")).unwrap();
        assert_eq!(vault.open(purpose, name, &sealed).unwrap().expose(), "s3cr3t");
        let many = vec![one.clone(); MASTER_KEYS_MAX + 1].join(",");
        for wrong in ["", "a1", &one[1..], &one.replace('a', "g"), &format!("{one},x"), &many] {
            assert!(matches!(Vault::parse(wrong), Err(VaultError::KeyInvalid)), "{wrong}");
        }
    }

    #[test]
    fn a_file_of_keys_is_for_its_owner_only_and_a_rotation_is_seen_by_who_has_it_open() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("data");
        let path = inner.join("secret-key");
        assert!(Vault::read_file(&path).unwrap().is_none());
        let first = Vault::make_file(&path).unwrap();
        assert_eq!(inner.metadata().unwrap().permissions().mode() & 0o777, 0o700, "the folder is made, too");
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(Vault::make_file(&path).unwrap().key_ids(), first.key_ids(), "it is made once");

        let server = Vault::read_file(&path).unwrap().unwrap();
        let (purpose, name) = row();
        let old = first.seal(purpose, name, &Secret::new("old")).unwrap();
        let id = first.rotate_file(&[]).unwrap();
        let new = first.seal(purpose, name, &Secret::new("new")).unwrap();
        assert_eq!(sealed_with(&new), Some(&*id));
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        for (sealed, clear) in [(&old, "old"), (&new, "new")] {
            assert_eq!(server.open(purpose, name, sealed).unwrap().expose(), clear);
        }
        let second = Vault::read_file(&path).unwrap().unwrap();
        let third = second.rotate_file(&[]).unwrap();
        let by_server = server.seal(purpose, name, &Secret::new("x")).unwrap();
        assert_eq!(sealed_with(&by_server), Some(&*third), "the server seals with the new key at once");
        assert_eq!(server.key_ids(), [third, id], "a key that seals nothing is gone after the next rotation");
        assert!(matches!(server.open(purpose, name, &old), Err(VaultError::UnknownKey(_))));
        assert_eq!(std::fs::read_dir(inner).unwrap().count(), 1, "nothing is left beside it");
    }
}

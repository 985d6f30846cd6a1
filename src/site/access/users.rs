//! Users and the hashes of their passwords, as in the files of Apache's htpasswd, and the credentials of Basic
//! authentication (RFC 7617).

use std::collections::HashMap;
use std::fmt;

use argon2::Argon2;
use argon2::password_hash::PasswordVerifier;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha_crypt::ShaCrypt;

/// Maximum memory of one verification, in KiB: what PHP's `password_hash` chooses. Hashes that need more are refused.
const ARGON2_KIB_MAX: u32 = 64 << 10;
/// Maximum cost of bcrypt: each step doubles the time, and this takes seconds.
const BCRYPT_COST_MAX: u32 = 14;
/// Maximum rounds of SHA-crypt: about a second.
const SHA_ROUNDS_MAX: u32 = 1_000_000;
/// Maximum length of a name or a password, in bytes.
const CREDENTIAL_LENGTH_MAX: usize = 1_024;

/// A hash of a password.
#[derive(Clone, PartialEq, Eq)]
enum PasswordHash {
    /// `$2y$…`, of `htpasswd -B`.
    Bcrypt(String),
    /// `$argon2id$…`.
    Argon2(String),
    /// `$5$…` or `$6$…`, of `mkpasswd` and `openssl passwd -6`.
    ShaCrypt(String),
}

/// Names and hashes.
#[derive(Clone, PartialEq, Eq)]
pub struct Users {
    by_name: HashMap<Vec<u8>, PasswordHash>,
}

impl fmt::Debug for Users {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Hashes belong in no log.
        write!(f, "Users({})", self.by_name.len())
    }
}

/// Why a file has no users.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UsersError {
    /// A line has no colon.
    #[error("line {0} is not NAME:HASH")]
    Line(usize),
    /// A hash has a format that is not known.
    #[error(
        "line {0} has a hash that is not supported; write bcrypt (htpasswd -B), argon2id or SHA-crypt ($5$, $6$)"
    )]
    Hash(usize),
    /// A hash would take too long or too much memory.
    #[error(
        "line {0} has a hash that costs too much; use bcrypt up to cost 14, argon2id up to 64 MiB, SHA-crypt up to a \
         million rounds"
    )]
    Cost(usize),
    /// A name stands there twice.
    #[error("line {0} has a name that stands further up already")]
    Repeated(usize),
    /// There is no user.
    #[error("has no user; add one with htpasswd -B FILE NAME")]
    Empty,
}

impl Users {
    /// Parses a file: `NAME:HASH` on each line; empty lines and those that begin with `#` are skipped.
    ///
    /// # Errors
    /// For the first line that is wrong.
    pub fn parse(text: &[u8]) -> Result<Users, UsersError> {
        let mut by_name = HashMap::new();
        for (line, number) in text.split(|byte| *byte == b'\n').zip(1..) {
            let line = line.trim_ascii();
            if line.is_empty() || line.starts_with(b"#") {
                continue;
            }
            let colon = memchr::memchr(b':', line).filter(|at| *at > 0);
            let colon = colon.ok_or(UsersError::Line(number))?;
            // Further fields are those of other programs.
            let hash = line[colon + 1..].split(|byte| *byte == b':').next();
            let hash = std::str::from_utf8(hash.unwrap_or_default());
            let hash = PasswordHash::parse(hash.unwrap_or_default(), number)?;
            if by_name.insert(line[..colon].to_vec(), hash).is_some() {
                return Err(UsersError::Repeated(number));
            }
        }
        match by_name.is_empty() {
            true => Err(UsersError::Empty),
            false => Ok(Users { by_name }),
        }
    }

    /// What is to be computed to find out whether a password is that of a user. For an unknown name it takes as long.
    pub(crate) fn verification(&self, credentials: &Credentials) -> Verification {
        let known = self.by_name.get(&credentials.name);
        let hash = known.or_else(|| self.by_name.values().next());
        let Some(hash) = hash.cloned() else {
            unreachable!("there is a user");
        };
        Verification {
            hash,
            password: credentials.password.clone(),
            is_known: known.is_some(),
        }
    }
}

impl PasswordHash {
    fn parse(text: &str, line: usize) -> Result<PasswordHash, UsersError> {
        let fields: Vec<&str> = text.split('$').collect();
        let number = |text: &str| text.parse::<u32>().ok();
        let owned = text.to_owned();
        let (hash, cost) = match &*fields {
            ["", "2a" | "2b" | "2x" | "2y", cost, rest] if rest.len() == 53 => (
                PasswordHash::Bcrypt(owned),
                number(cost).map(|cost| cost <= BCRYPT_COST_MAX),
            ),
            ["", "argon2id", "v=19", parameters, _, _] => {
                let memory = parameters.split(',').find_map(|one| one.strip_prefix("m="));
                let is_cheap = |kib| kib <= ARGON2_KIB_MAX;
                (
                    PasswordHash::Argon2(owned),
                    memory.and_then(number).map(is_cheap),
                )
            }
            ["", "5" | "6", rest @ ..] if matches!(rest.len(), 2 | 3) => {
                let rounds = rest[0].strip_prefix("rounds=");
                let cost = match rounds {
                    Some(rounds) => number(rounds).map(|rounds| rounds <= SHA_ROUNDS_MAX),
                    None => (rest.len() == 2).then_some(true),
                };
                (PasswordHash::ShaCrypt(owned), cost)
            }
            _ => return Err(UsersError::Hash(line)),
        };
        match cost {
            Some(true) => Ok(hash),
            Some(false) => Err(UsersError::Cost(line)),
            None => Err(UsersError::Hash(line)),
        }
    }
}

/// A password to be compared with a hash.
pub(crate) struct Verification {
    hash: PasswordHash,
    password: Vec<u8>,
    is_known: bool,
}

impl fmt::Debug for Verification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Verification")
    }
}

impl Verification {
    /// Computes it. Takes up to seconds of processor time, by design of the hashes.
    pub(crate) fn is_passed(&self) -> bool {
        let password = &*self.password;
        let is_same = match &self.hash {
            PasswordHash::Bcrypt(hash) => bcrypt::verify(password, hash).unwrap_or(false),
            PasswordHash::Argon2(hash) => {
                Argon2::default().verify_password(password, &**hash).is_ok()
            }
            PasswordHash::ShaCrypt(hash) => ShaCrypt::default()
                .verify_password(password, &**hash)
                .is_ok(),
        };
        is_same && self.is_known
    }
}

/// A name and a password, as a request has them.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Credentials {
    name: Vec<u8>,
    password: Vec<u8>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials")
    }
}

impl Credentials {
    /// Of an Authorization field: `Basic` and the base64 of name, colon and password. RFC 7617 §2.
    pub(crate) fn parse(field: &[u8]) -> Option<Credentials> {
        let (scheme, rest) = field.split_at_checked("Basic ".len())?;
        if !scheme.eq_ignore_ascii_case(b"Basic ") {
            return None;
        }
        let decoded = STANDARD.decode(rest.trim_ascii()).ok()?;
        let colon = memchr::memchr(b':', &decoded)?;
        let (name, password) = (&decoded[..colon], &decoded[colon + 1..]);
        let is_short = name.len().max(password.len()) <= CREDENTIAL_LENGTH_MAX;
        is_short.then(|| Credentials {
            name: name.to_vec(),
            password: password.to_vec(),
        })
    }
}

#[cfg(test)]
mod tests {
    use argon2::password_hash::PasswordHasher;

    use super::*;

    /// `password` for each, of htpasswd, argon2 and openssl.
    const FILE: &str = "# users\n\
        bob:$2y$05$mRDP.IxT/QzmnnbtbRFYe.DXNLWKkQOtSbOLLFkpBgYsDPT/FDxgm\n\
        \n\
        sha5:$5$saltsalt$kDKG8wsCWjJ6cCvOGHTBHKNFqHMFNmlUFcAHPGCMUSA:comment\n";

    fn verified(users: &Users, name: &str, password: &str) -> bool {
        let text = STANDARD.encode(format!("{name}:{password}"));
        let credentials = Credentials::parse(format!("basic {text}").as_bytes()).expect("valid");
        users.verification(&credentials).is_passed()
    }

    #[test]
    fn lines_of_other_formats_are_refused_with_their_number() {
        let bcrypt = "$2y$05$mRDP.IxT/QzmnnbtbRFYe.DXNLWKkQOtSbOLLFkpBgYsDPT/FDxgm";
        #[rustfmt::skip]
        let cases = [
            (String::new(),                                             UsersError::Empty),
            (String::from("# none\n"),                                  UsersError::Empty),
            (String::from("bob\n"),                                     UsersError::Line(1)),
            (String::from("\n:x\n"),                                    UsersError::Line(2)),
            (String::from("bob:$apr1$salt$hash"),                       UsersError::Hash(1)),
            (String::from("bob:{SHA}hash"),                             UsersError::Hash(1)),
            (String::from("bob:plain"),                                 UsersError::Hash(1)),
            (String::from("bob:"),                                      UsersError::Hash(1)),
            (format!("bob:{}", bcrypt.replace("$05$", "$20$")),         UsersError::Cost(1)),
            (String::from("bob:$argon2id$v=19$m=999999,t=2,p=1$a$b"),   UsersError::Cost(1)),
            (String::from("bob:$6$rounds=9999999$salt$hash"),           UsersError::Cost(1)),
            (format!("bob:{bcrypt}\nbob:{bcrypt}"),                     UsersError::Repeated(2)),
        ];
        for (text, error) in cases {
            assert_eq!(Users::parse(text.as_bytes()), Err(error), "{text}");
        }
        assert!(Users::parse(FILE.as_bytes()).is_ok());
    }

    #[test]
    fn each_kind_of_hash_is_verified() {
        let bcrypt = bcrypt::hash_with_salt("pass word", 4, [7; 16]).expect("a hash");
        let bcrypt = bcrypt.format_for_version(bcrypt::Version::TwoY);
        let argon2 = Argon2::default().hash_password_with_salt(b"password", b"some salt");
        let argon2 = argon2.expect("a hash").to_string();
        let text = format!(
            "b:{bcrypt}\n\
             a:{argon2}\n\
             s:$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1\n\
             t:$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5\n"
        );
        let users = Users::parse(text.as_bytes()).expect("users");
        #[rustfmt::skip]
        let cases = [
            ("b", "pass word",    true),
            ("b", "pass worx",    false),
            ("b", "",             false),
            ("a", "password",     true),
            ("a", "Password",     false),
            ("s", "Hello world!", true),
            ("s", "Hello world",  false),
            ("t", "Hello world!", true),
            ("t", "hello world!", false),
            ("c", "pass word",    false),
            ("",  "pass word",    false),
        ];
        for (name, password, want) in cases {
            assert_eq!(verified(&users, name, password), want, "{name} {password}");
        }
    }

    #[test]
    fn only_whole_credentials_are_taken() {
        let taken = |text: &str| Credentials::parse(text.as_bytes());
        for text in [
            "",
            "Basic",
            "Basic ",
            "Basic !!!!",
            "Bearer YTpi",
            "Basic YWI=",
            "Basic YTpi YTpi",
        ] {
            assert_eq!(taken(text), None, "{text}");
        }
        let both = Some(Credentials {
            name: b"a".to_vec(),
            password: b"b:c".to_vec(),
        });
        assert_eq!(taken("Basic YTpiOmM="), both);
        assert_eq!(taken("bAsIc   YTpiOmM="), both);
        let long =
            STANDARD.encode([b"a:".to_vec(), vec![b'x'; CREDENTIAL_LENGTH_MAX + 1]].concat());
        assert_eq!(taken(&format!("Basic {long}")), None);
    }
}

//! Our tokens: JWT (RFC 7519) with HS256 and nothing else. The header's `typ` and the claim `type` both say which kind it is, so
//! that an access token is never taken for a refresh token or the reverse.

use super::AuthSettings;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use bifrost_domain::{
    error::{Error, Result},
    ids::{OrganizationId, SessionId, UserId},
    user::{SessionState, User, UserType},
};
use chrono::{DateTime, Utc};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, decode_header, encode};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use sha2::{Digest, Sha256};
use std::fmt;
use subtle::ConstantTimeEq;
use uuid::Uuid;

/// Longer texts are no token of ours.
const MAX_BYTES: usize = 8 * 1024;
const ACCESS: &str = "access";
const REFRESH: &str = "refresh";
const MFA: &str = "mfa";

/// What an access token says.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct AccessClaims {
    pub(super) sub: UserId,
    email: String,
    name: String,
    user_type: UserType,
    is_superuser: bool,
    org_id: Option<OrganizationId>,
    roles: Vec<String>,
    #[serde(flatten)]
    pub(super) common: Common,
}

/// What a refresh token says: who and which family; the rest is looked up.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct RefreshClaims {
    pub(super) sub: UserId,
    #[serde(flatten)]
    pub(super) common: Common,
}

/// What a token of a sign-in that waits for a second factor says. It names no session, and is taken for nothing else.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct ChallengeClaims {
    pub(super) sub: UserId,
    #[serde(rename = "type")]
    kind: String,
    pub(super) epoch: i64,
    exp: i64,
    iat: i64,
    pub(super) jti: Uuid,
    iss: String,
    aud: String,
}

/// What both kinds say.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Common {
    #[serde(rename = "type")]
    kind: String,
    pub(super) sid: SessionId,
    pub(super) epoch: i64,
    exp: i64,
    iat: i64,
    pub(super) jti: Uuid,
    iss: String,
    aud: String,
}

/// What a sign-in or a refresh answers with.
#[derive(Clone)]
pub struct TokenPair {
    /// For `Authorization: Bearer`.
    pub access_token: SecretString,
    /// For one refresh.
    pub refresh_token: SecretString,
    /// For the header `X-CSRF-Token` beside the cookies.
    pub csrf_token: String,
    /// Seconds that the access token holds.
    pub expires_in: u64,
    /// Seconds that the refresh token holds.
    pub refresh_expires_in: u64,
}

impl fmt::Debug for TokenPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenPair").field("expires_in", &self.expires_in).finish_non_exhaustive()
    }
}

struct Key {
    id: String,
    encoding: EncodingKey,
    decoding: DecodingKey,
    csrf: Sha256,
}

impl Key {
    fn new(secret: &SecretString) -> Self {
        let bytes = secret.expose_secret().as_bytes();
        // Other prefixes than the signature's: neither value says anything about the key or the other.
        let id = Sha256::new().chain_update(b"bifrost key id\0").chain_update(bytes).finalize();
        let csrf = Sha256::new().chain_update(b"bifrost csrf\0").chain_update(bytes).chain_update(b"\0");
        Self {
            id: URL_SAFE_NO_PAD.encode(&id[..9]),
            encoding: EncodingKey::from_secret(bytes),
            decoding: DecodingKey::from_secret(bytes),
            csrf,
        }
    }

    /// What a browser of this session sends back in the header `X-CSRF-Token`.
    fn csrf_token(&self, session: SessionId) -> String {
        URL_SAFE_NO_PAD.encode(self.csrf.clone().chain_update(session.as_uuid().as_bytes()).finalize())
    }
}

/// Makes and reads tokens.
pub(super) struct Tokens {
    current: Key,
    previous: Option<Key>,
    validation: Validation,
    issuer: String,
    audience: String,
    access_seconds: i64,
    refresh_seconds: i64,
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens").field("key", &self.current.id).finish_non_exhaustive()
    }
}

/// The answer to every token that does not hold; it does not tell why.
pub(crate) fn invalid() -> Error {
    Error::unauthenticated("the token is not valid or has expired; sign in again").with_code("token_invalid")
}

impl Tokens {
    pub(super) fn new(settings: &AuthSettings) -> Self {
        let mut validation = Validation::new(Algorithm::HS256);
        validation.algorithms = vec![Algorithm::HS256];
        validation.set_audience(&[&settings.audience]);
        validation.set_issuer(&[&settings.issuer]);
        validation.set_required_spec_claims(&["exp", "aud", "iss", "sub"]);
        // Checked below against the injected clock and without the library's minute of leeway.
        validation.validate_exp = false;
        Self {
            current: Key::new(&settings.signing_key),
            previous: settings.previous_key.as_ref().map(Key::new),
            validation,
            issuer: settings.issuer.clone(),
            audience: settings.audience.clone(),
            access_seconds: seconds(settings.access_ttl),
            refresh_seconds: seconds(settings.refresh_ttl),
        }
    }

    /// The pair whose refresh token has the id `jti`, issued at `issued_at`. The same arguments give the same texts: that is
    /// how a refresh that is repeated gets the same answer without any token being kept.
    pub(super) fn pair(
        &self,
        state: &SessionState,
        jti: Uuid,
        issued_at: DateTime<Utc>,
    ) -> Result<TokenPair> {
        let user = &state.user;
        let place = state.place().or(user.organization_id);
        let access = AccessClaims {
            sub: user.id,
            email: user.email.clone(),
            name: user.display_name().to_owned(),
            user_type: user.user_type,
            is_superuser: user.is_superuser,
            org_id: place,
            roles: state.rights.granted(user, place).roles.into_iter().collect(),
            common: self.common(ACCESS, state, access_id(jti), issued_at, self.access_seconds),
        };
        let refresh = RefreshClaims {
            sub: user.id,
            common: self.common(REFRESH, state, jti, issued_at, self.refresh_seconds),
        };
        Ok(TokenPair {
            access_token: self.sign("at+jwt", &access)?,
            refresh_token: self.sign("rt+jwt", &refresh)?,
            csrf_token: self.current.csrf_token(state.session_id),
            expires_in: self.access_seconds.unsigned_abs(),
            refresh_expires_in: self.refresh_seconds.unsigned_abs(),
        })
    }

    /// Whether a text is the CSRF token of a session, in constant time.
    pub(super) fn is_csrf_token(&self, session: SessionId, text: &str) -> bool {
        let keys = [Some(&self.current), self.previous.as_ref()];
        keys.into_iter().flatten().any(|key| {
            let token = key.csrf_token(session);
            bool::from(token.as_bytes().ct_eq(text.as_bytes()))
        })
    }

    /// When a refresh token issued at `time` ends.
    pub(super) fn refresh_end(&self, time: DateTime<Utc>) -> DateTime<Utc> {
        time + chrono::Duration::seconds(self.refresh_seconds)
    }

    pub(super) fn read_access(&self, token: &str, now: DateTime<Utc>) -> Result<AccessClaims> {
        let claims: AccessClaims = self.read(token, "at+jwt")?;
        holds(&claims.common, ACCESS, now).then_some(claims).ok_or_else(invalid)
    }

    pub(super) fn read_refresh(&self, token: &str, now: DateTime<Utc>) -> Result<RefreshClaims> {
        let claims: RefreshClaims = self.read(token, "rt+jwt")?;
        holds(&claims.common, REFRESH, now).then_some(claims).ok_or_else(invalid)
    }

    /// The token of challenge `jti` for `user`, which holds for `seconds`.
    pub(super) fn challenge(
        &self,
        user: &User,
        jti: Uuid,
        issued_at: DateTime<Utc>,
        seconds: i64,
    ) -> Result<SecretString> {
        let claims = ChallengeClaims {
            sub: user.id,
            kind: MFA.to_owned(),
            epoch: user.epoch,
            exp: issued_at.timestamp() + seconds,
            iat: issued_at.timestamp(),
            jti,
            iss: self.issuer.clone(),
            aud: self.audience.clone(),
        };
        self.sign("mfa+jwt", &claims)
    }

    pub(super) fn read_challenge(&self, token: &str, now: DateTime<Utc>) -> Result<ChallengeClaims> {
        let claims: ChallengeClaims = self.read(token, "mfa+jwt")?;
        let holds = claims.kind == MFA && claims.exp > now.timestamp();
        holds.then_some(claims).ok_or_else(invalid)
    }

    fn common(
        &self,
        kind: &str,
        state: &SessionState,
        jti: Uuid,
        issued_at: DateTime<Utc>,
        seconds: i64,
    ) -> Common {
        Common {
            kind: kind.to_owned(),
            sid: state.session_id,
            epoch: state.user.epoch,
            exp: issued_at.timestamp() + seconds,
            iat: issued_at.timestamp(),
            jti,
            iss: self.issuer.clone(),
            aud: self.audience.clone(),
        }
    }

    fn sign<T: Serialize>(&self, typ: &str, claims: &T) -> Result<SecretString> {
        let header = Header {
            typ: Some(typ.to_owned()),
            kid: Some(self.current.id.clone()),
            ..Header::new(Algorithm::HS256)
        };
        Ok(encode(&header, claims, &self.current.encoding).map_err(Error::internal)?.into())
    }

    fn read<T: DeserializeOwned>(&self, token: &str, typ: &str) -> Result<T> {
        if token.len() > MAX_BYTES {
            return Err(invalid());
        }
        let header = decode_header(token).map_err(|_| invalid())?;
        // Exactly what we write: nothing in it names a key, an extension or an encryption (RFC 8725, 3.1 and 3.10).
        let ours =
            Header { typ: Some(typ.to_owned()), kid: header.kid.clone(), ..Header::new(Algorithm::HS256) };
        if header != ours {
            return Err(invalid());
        }
        let key = [Some(&self.current), self.previous.as_ref()]
            .into_iter()
            .flatten()
            .find(|key| header.kid.as_deref() == Some(&key.id))
            .ok_or_else(invalid)?;
        Ok(decode(token, &key.decoding, &self.validation).map_err(|_| invalid())?.claims)
    }
}

fn holds(common: &Common, kind: &str, now: DateTime<Utc>) -> bool {
    common.kind == kind && common.exp > now.timestamp()
}

/// The id of the access token that goes with a refresh token: derived, so that the pair can be made again.
fn access_id(jti: Uuid) -> Uuid {
    let digest = Sha256::new().chain_update(b"bifrost access id\0").chain_update(jti.as_bytes()).finalize();
    let mut bytes = [0_u8; 16];
    bytes.copy_from_slice(&digest[..16]);
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}

fn seconds(duration: std::time::Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX / 4)
}

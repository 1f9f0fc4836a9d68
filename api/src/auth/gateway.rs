//! What the gateway tells of a caller, and its proof that it is the gateway.

use std::net::SocketAddr;

use axum::http::{HeaderMap, HeaderName};
use entity::status::{ActorKind, Role};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::bearer;
use super::keys::{Claims, Keys};
use crate::caller::Caller;
use crate::error::ApiError;
use crate::settings::AuthSettings;

const SECRET: HeaderName = HeaderName::from_static("x-gateway-secret");
const TOKEN: HeaderName = HeaderName::from_static("x-gateway-token");
const USER: HeaderName = HeaderName::from_static("x-user-id");
const EMAIL: HeaderName = HeaderName::from_static("x-user-email");
const ORG: HeaderName = HeaderName::from_static("x-org-id");
const TEAM: HeaderName = HeaderName::from_static("x-team-id");
const ROLE: HeaderName = HeaderName::from_static("x-user-role");
/// Ids are stored with every task.
const LONGEST: usize = 200;

const NO_PROOF: ApiError =
    ApiError::Unauthorized("The request does not prove that it comes from the gateway");

/// Who the gateway says it is.
pub(super) async fn caller_of(
    settings: &AuthSettings,
    keys: Option<&Keys>,
    headers: &HeaderMap,
    peer: Option<SocketAddr>,
) -> Result<Caller, ApiError> {
    let claims = proof(settings, keys, headers, peer).await?.claims();
    let org = agreed(&ORG, headers, claims.org_id)?;
    let user = agreed(&USER, headers, claims.sub)?;
    let team = agreed(&TEAM, headers, claims.team_id)?;
    let email = agreed(&EMAIL, headers, claims.email)?;
    let role = agreed(&ROLE, headers, claims.role)?;
    let (Some(org), Some(user)) = (org, user) else {
        return Err(ApiError::Unauthorized(
            "The gateway tells neither X-User-ID nor X-Org-ID, or only one of them",
        ));
    };
    let role = match role {
        // Who is not said to may change anything may not.
        None => Role::Viewer,
        Some(word) => word
            .to_ascii_lowercase()
            .parse()
            .map_err(|_| ApiError::Unauthorized("X-User-Role is none of viewer, member, admin"))?,
    };
    Ok(Caller {
        org,
        team,
        kind: ActorKind::User,
        id: Some(user),
        email,
        role,
        correlation_id: None,
    })
}

/// What proved that a request comes from the gateway.
enum Proof {
    /// Something that says nothing of the caller.
    Plain,
    Token(Claims),
}

impl Proof {
    fn claims(self) -> Claims {
        match self {
            Self::Plain => Claims::default(),
            Self::Token(claims) => claims,
        }
    }
}

/// A proof that is offered and wrong is refused, whatever else would do.
async fn proof(
    settings: &AuthSettings,
    keys: Option<&Keys>,
    headers: &HeaderMap,
    peer: Option<SocketAddr>,
) -> Result<Proof, ApiError> {
    if let (Some(secret), Some(given)) = (&settings.gateway_secret, headers.get(SECRET)) {
        // Digests are equally long: not even the length of the secret can be measured.
        let expected = Sha256::digest(secret.expose().as_bytes());
        let given = Sha256::digest(given.as_bytes());
        return if bool::from(expected.as_slice().ct_eq(given.as_slice())) {
            Ok(Proof::Plain)
        } else {
            Err(NO_PROOF)
        };
    }
    let token = match single(&TOKEN, headers)? {
        Some(token) => Some(token),
        None => bearer(headers).map(str::to_owned),
    };
    if let (Some(keys), Some(token)) = (keys, token) {
        return keys.verify(&token).await.map(Proof::Token);
    }
    let trusted = peer.is_some_and(|peer| {
        let ip = peer.ip().to_canonical();
        settings
            .trusted_gateways
            .iter()
            .any(|net| net.contains(&ip))
    });
    if trusted {
        Ok(Proof::Plain)
    } else {
        Err(NO_PROOF)
    }
}

/// A header that must not stand there twice: a gateway that adds to what a client sent, instead of
/// replacing it, would let the client choose.
fn single(name: &HeaderName, headers: &HeaderMap) -> Result<Option<String>, ApiError> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(ApiError::Unauthorized(
            "A header that tells who calls stands there twice",
        ));
    }
    let text = value.to_str().map(str::trim);
    match text {
        Ok("") => Ok(None),
        Ok(text) => Ok(Some(text.to_owned())),
        Err(_) => Err(ApiError::Unauthorized(
            "A header that tells who calls holds more than visible ASCII",
        )),
    }
}

/// What header and token say, if they do not contradict each other.
fn agreed(
    name: &HeaderName,
    headers: &HeaderMap,
    claim: Option<String>,
) -> Result<Option<String>, ApiError> {
    let header = single(name, headers)?;
    let value = match (header, claim) {
        (Some(header), Some(claim)) if header != claim => {
            return Err(ApiError::Unauthorized(
                "The headers contradict the gateway's token",
            ));
        }
        (header, claim) => claim.or(header),
    };
    if value
        .as_ref()
        .is_some_and(|value| value.len() > LONGEST || value.contains(char::is_control))
    {
        return Err(ApiError::Unauthorized(
            "A header that tells who calls is too long",
        ));
    }
    Ok(value)
}

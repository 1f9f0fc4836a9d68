//! Identity headers of the gateway, and the proof that a request comes from it.

use std::net::SocketAddr;

use axum::http::{HeaderMap, HeaderName};
use domain::vocabulary::{ActorKind, Role};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::auth::bearer::bearer_token;
use crate::auth::jwks::{Claims, Keys};
use crate::caller::Caller;
use crate::http::error::ApiError;
use platform::settings::ExposeSecret;

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
    ApiError::Unauthorized("Missing or invalid proof that the request comes from the gateway");
const CONTRADICTED: ApiError =
    ApiError::Unauthorized("The identity headers contradict the gateway's token");

/// Returns the caller that the gateway names.
pub(crate) async fn caller_of(
    settings: &AuthSettings,
    keys: Option<&Keys>,
    headers: &HeaderMap,
    peer: Option<SocketAddr>,
) -> Result<Caller, ApiError> {
    let proof = proof(settings, keys, headers, peer).await?;
    let claims = &proof.claims;
    let org = proof.proven(&ORG, headers, claims.org_id.as_deref())?;
    let user = proof.proven(&USER, headers, claims.sub.as_deref())?;
    let email = proof.proven(&EMAIL, headers, claims.email.as_deref())?;
    let team = match proof.proven(&TEAM, headers, claims.team_id.as_deref())? {
        // A caller without a team sees the whole organisation, so a team only restricts it.
        None => header(&TEAM, headers)?,
        told => told,
    };
    let (Some(org), Some(user)) = (org, user) else {
        return Err(ApiError::Unauthorized(
            "The gateway's proof names no user or organisation",
        ));
    };
    let role = match proof.proven(&ROLE, headers, claims.role.as_deref())? {
        // Without a proven role the caller is a viewer. An unproven header cannot raise the role.
        None => match header(&ROLE, headers)? {
            Some(word) if !word.eq_ignore_ascii_case(Role::Viewer.as_str()) => {
                return Err(CONTRADICTED);
            }
            _ => Role::Viewer,
        },
        Some(word) => word.to_ascii_lowercase().parse().map_err(|_| {
            ApiError::Unauthorized("Invalid role: X-User-Role must be viewer, member or admin")
        })?,
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

/// Result of verifying that a request comes from the gateway.
struct Proof {
    /// Whether the headers are proven, too. A signed token alone does not prove them, because its
    /// bearer may have written them.
    of_headers: bool,
    /// Claims of a valid token. Empty without one.
    claims: Claims,
}

impl Proof {
    /// Returns a proven value: the claim, or the header if the token lacks the claim and another
    /// proof covers headers.
    fn proven(
        &self,
        name: &HeaderName,
        headers: &HeaderMap,
        claim: Option<&str>,
    ) -> Result<Option<String>, ApiError> {
        match (header(name, headers)?, claim) {
            (Some(header), Some(claim)) if header != claim => Err(CONTRADICTED),
            (_, Some(claim)) => within_limits(claim.to_owned()).map(Some),
            (header, None) => Ok(header.filter(|_| self.of_headers)),
        }
    }
}

/// Verifies gateway proofs beside an API token, which needs none of them. Without single sign-on
/// they are ignored.
pub(crate) async fn verify_proofs(
    settings: &AuthSettings,
    keys: Option<&Keys>,
    headers: &HeaderMap,
) -> Result<(), ApiError> {
    if !settings.enabled {
        return Ok(());
    }
    has_secret(settings, headers)?;
    if let (Some(keys), Some(token)) = (keys, single(&TOKEN, headers)?) {
        keys.verify(&token).await?;
    }
    Ok(())
}

/// Whether the secret of the gateway is there; one that is wrong is refused.
fn has_secret(settings: &AuthSettings, headers: &HeaderMap) -> Result<bool, ApiError> {
    let mut knows = false;
    if let Some(secret) = &settings.gateway_secret {
        // Digests are equally long: not even the length of the secret can be measured.
        let expected = Sha256::digest(secret.expose_secret().as_bytes());
        for given in headers.get_all(SECRET) {
            let given = Sha256::digest(given.as_bytes());
            if !bool::from(expected.as_slice().ct_eq(given.as_slice())) {
                return Err(NO_PROOF);
            }
            knows = true;
        }
    }
    Ok(knows)
}

/// Verifies every proof in the request. One invalid proof refuses the request, even if another is
/// valid.
async fn proof(
    settings: &AuthSettings,
    keys: Option<&Keys>,
    headers: &HeaderMap,
    peer: Option<SocketAddr>,
) -> Result<Proof, ApiError> {
    let is_trusted = peer.is_some_and(|peer| {
        let ip = peer.ip().to_canonical();
        settings
            .trusted_gateways
            .iter()
            .any(|net| net.contains(&ip))
    });
    let of_headers = has_secret(settings, headers)? || is_trusted;
    let token = match single(&TOKEN, headers)? {
        Some(token) => Some(token),
        None => bearer_token(headers).map(str::to_owned),
    };
    match (keys, token) {
        (Some(keys), Some(token)) => Ok(Proof {
            of_headers,
            claims: keys.verify(&token).await?,
        }),
        _ if of_headers => Ok(Proof {
            of_headers,
            claims: Claims::default(),
        }),
        _ => Err(NO_PROOF),
    }
}

/// Returns the value of a header that may occur only once. A gateway that appends to a client's
/// header instead of replacing it would let the client choose the value.
fn single(name: &HeaderName, headers: &HeaderMap) -> Result<Option<String>, ApiError> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(ApiError::Unauthorized(
            "Duplicate identity header. The gateway must replace the headers of clients",
        ));
    }
    let text = value.to_str().map(str::trim);
    match text {
        Ok("") => Ok(None),
        Ok(text) => Ok(Some(text.to_owned())),
        Err(_) => Err(ApiError::Unauthorized(
            "An identity header contains characters other than visible ASCII",
        )),
    }
}

/// Returns the value of a header.
fn header(name: &HeaderName, headers: &HeaderMap) -> Result<Option<String>, ApiError> {
    single(name, headers)?.map(within_limits).transpose()
}

fn within_limits(value: String) -> Result<String, ApiError> {
    if value.len() > LONGEST || value.contains(char::is_control) {
        return Err(ApiError::Unauthorized(
            "An identity header or claim is too long or contains control characters",
        ));
    }
    Ok(value)
}

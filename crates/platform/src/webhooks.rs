//! Webhooks: message content, signature, and allowed addresses.
//!
//! Follows the conventions of Standard Webhooks (<https://www.standardwebhooks.com>): the headers
//! `webhook-id`, `webhook-timestamp` and `webhook-signature`, a secret `whsec_` and base64, and an
//! HMAC-SHA-256 over `id.timestamp.body`.

use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use domain::vocabulary::DeliveryStatus;
use entity::{DeliveryId, TaskId, task, webhook, webhook_delivery};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sea_orm::ActiveValue::Set;
use sea_orm::{
    ColumnTrait as _, Condition, ConnectionTrait, DbErr, EntityTrait as _, QueryFilter as _,
};
use serde_json::{Value, json};
use sha2::Sha256;
use url::{Host, Url};

use crate::database::clock;
use crate::queue::{self, Notification, Work};
use crate::settings::{ExposeSecret, SecretString};

/// Prefix of a signing secret.
const SECRET_PREFIX: &str = "whsec_";

/// Adds a delivery job for every webhook that is to be notified of the end of a task.
///
/// Runs in the transaction that ends the task, after its last event. Notify workers after the commit.
pub async fn enqueue_deliveries(
    transaction: &impl ConnectionTrait,
    task: TaskId,
) -> Result<Vec<Notification>, DbErr> {
    let Some(task) = task::Entity::find_by_id(task).one(transaction).await? else {
        return Ok(Vec::new());
    };
    let team = match &task.team_id {
        Some(team) => Condition::any()
            .add(webhook::Column::TeamId.is_null())
            .add(webhook::Column::TeamId.eq(team.as_str())),
        None => Condition::all().add(webhook::Column::TeamId.is_null()),
    };
    let webhooks = webhook::Entity::of_org(&task.org_id)
        .filter(webhook::Column::Enabled.eq(true))
        .filter(team)
        .all(transaction)
        .await?;
    let mut works = Vec::with_capacity(webhooks.len());
    for webhook in webhooks {
        let id = DeliveryId::new();
        let row = webhook_delivery::ActiveModel {
            id: Set(id),
            webhook_id: Set(webhook.id),
            task_id: Set(task.id),
            event_seq: Set(task.event_seq),
            ending: Set(Some(ending(&task))),
            status: Set(DeliveryStatus::Queued),
            attempts: Set(0),
            status_code: Set(None),
            error_message: Set(None),
            created_at: Set(clock::host_now()),
            delivered_at: Set(None),
        };
        webhook_delivery::Entity::insert(row)
            .exec_without_returning(transaction)
            .await?;
        works.push(Work::DeliverWebhook {
            task: task.id,
            delivery: id,
        });
    }
    queue::enqueue_all(transaction, &works).await
}

/// Returns the end of a task as a message reports it.
///
/// It is stored with the delivery, because the task may be retried before the message is delivered.
pub fn ending(task: &task::Model) -> Value {
    json!({
        "status": task.status,
        "failure_cause": task.failure_cause,
        "error_message": task.error_message,
        "completed_at": task.completed_at,
    })
}

/// Returns a new random signing secret.
pub fn new_secret() -> SecretString {
    let bytes: [u8; 24] = rand::random();
    SecretString::from(format!("{SECRET_PREFIX}{}", BASE64.encode(bytes)))
}

/// Returns the value of the header `webhook-signature` of a message.
pub fn signature(secret: &SecretString, id: DeliveryId, timestamp: i64, body: &str) -> String {
    let secret = secret.expose_secret();
    let text = secret.strip_prefix(SECRET_PREFIX).unwrap_or(secret);
    let key = BASE64
        .decode(text)
        .unwrap_or_else(|_| text.as_bytes().to_vec());
    // An HMAC accepts keys of every length.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&key) else {
        return String::new();
    };
    mac.update(format!("{id}.{timestamp}.{body}").as_bytes());
    format!("v1,{}", BASE64.encode(mac.finalize().into_bytes()))
}

/// A URL that a webhook must not have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidUrl {
    #[error("not a URL: {0}")]
    Malformed(String),
    #[error("it must begin with https://")]
    NotHttps,
    #[error("it must not contain a user name or a password")]
    Credentials,
    #[error("it points into a private network")]
    Private,
}

/// Parses the URL of a webhook. With `private`, addresses of private networks and plain HTTP are
/// allowed.
///
/// A host name may still resolve to a private address: check [`is_public`] again on connect.
///
/// # Errors
/// The URL is malformed or not allowed.
pub fn parse_url(text: &str, private: bool) -> Result<Url, InvalidUrl> {
    let url = Url::parse(text).map_err(|error| InvalidUrl::Malformed(error.to_string()))?;
    if url.scheme() != "https" && !(private && url.scheme() == "http") {
        return Err(InvalidUrl::NotHttps);
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(InvalidUrl::Credentials);
    }
    let is_allowed = match url.host() {
        None => return Err(InvalidUrl::Malformed("it has no host".to_owned())),
        Some(Host::Ipv4(ip)) => is_public(ip.into()),
        Some(Host::Ipv6(ip)) => is_public(ip.into()),
        Some(Host::Domain(name)) => {
            let name = name.trim_end_matches('.');
            name != "localhost" && !name.ends_with(".localhost")
        }
    };
    if is_allowed || private {
        Ok(url)
    } else {
        Err(InvalidUrl::Private)
    }
}

/// Returns whether an address belongs to the public internet, and not to a block of the IANA
/// special-purpose address registries.
pub fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            let [a, b, c, _] = ip.octets();
            !(ip.is_private()
                || ip.is_loopback()
                || ip.is_link_local()
                || ip.is_broadcast()
                || ip.is_documentation()
                || ip.is_unspecified()
                || ip.is_multicast()
                || a == 0
                || a >= 240
                // Shared by providers (RFC 6598), protocol assignments (RFC 6890), benchmarks
                // (RFC 2544).
                || (a == 100 && (64..128).contains(&b))
                || (a == 192 && b == 0 && c == 0)
                || (a == 198 && (b == 18 || b == 19)))
        }
        IpAddr::V6(ip) => {
            if let Some(ip) = ip.to_ipv4() {
                return is_public(ip.into());
            }
            let segments = ip.segments();
            match (segments[0], segments[1]) {
                // Addresses that embed another address: NAT64, 6to4, Teredo.
                (0x64, 0xff9b) | (0x2002, _) | (0x2001, 0) => false,
                (0x2001, 0xdb8) => false,
                (first, _) => (0x2000..0x4000).contains(&first),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_signed_as_the_convention_says() {
        // The example of the specification's reference libraries.
        let secret = SecretString::from("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
        let key = BASE64.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let id = DeliveryId::new();
        let mut mac = Hmac::<Sha256>::new_from_slice(&key).unwrap();
        mac.update(format!("{id}.1614265330.{{\"test\": 2432232314}}").as_bytes());
        let expected = format!("v1,{}", BASE64.encode(mac.finalize().into_bytes()));
        assert_eq!(
            signature(&secret, id, 1_614_265_330, "{\"test\": 2432232314}"),
            expected
        );
    }

    #[test]
    fn messages_go_to_the_public_internet_only() {
        for good in [
            "https://hooks.example.com/a?b=c",
            "https://8.8.8.8/",
            "https://[2606:4700::1111]:8443/x",
        ] {
            assert!(parse_url(good, false).is_ok(), "{good}");
        }
        for bad in [
            "http://hooks.example.com/",
            "ftp://hooks.example.com/",
            "https://user@hooks.example.com/",
            "https://:pw@hooks.example.com/",
            "https://localhost/",
            "https://a.localhost./",
            "https://127.0.0.1/",
            "https://127.1/",
            "https://0x7f000001/",
            "https://2130706433/",
            "https://10.1.2.3/",
            "https://169.254.169.254/latest/meta-data",
            "https://100.64.0.1/",
            "https://0.0.0.0/",
            "https://[::1]/",
            "https://[::]/",
            "https://[::ffff:127.0.0.1]/",
            "https://[fe80::1]/",
            "https://[fd00::1]/",
            "https://[64:ff9b::7f00:1]/",
            "https://[2002:7f00:1::]/",
            "https://\u{ff11}27.0.0.1/",
            "not an address",
            "",
        ] {
            assert!(parse_url(bad, false).is_err(), "{bad}");
        }
        assert!(parse_url("http://127.0.0.1:9/", true).is_ok());
        assert!(parse_url("file:///etc/passwd", true).is_err());
    }
}

//! The private services are real, can be restarted, and end with their value.

use sea_orm::ConnectionTrait as _;
use testkit::database::{Engine, TestDatabase};
use testkit::services::{Postgres, Redis};

async fn set(url: &str) -> redis::RedisResult<()> {
    let mut connection = redis::Client::open(url)?
        .get_multiplexed_async_connection()
        .await?;
    redis::cmd("SET")
        .arg("k")
        .arg("v")
        .query_async(&mut connection)
        .await
}

async fn get(url: &str) -> redis::RedisResult<Option<String>> {
    let mut connection = redis::Client::open(url)?
        .get_multiplexed_async_connection()
        .await?;
    redis::cmd("GET")
        .arg("k")
        .query_async(&mut connection)
        .await
}

#[tokio::test]
async fn redis_restarts_empty_and_ends_with_its_value() {
    let mut redis = Redis::start().await.unwrap();
    let other = Redis::start().await.unwrap();
    let url = redis.url();
    set(&url).await.unwrap();
    assert_eq!(get(&url).await.unwrap().as_deref(), Some("v"));
    assert_eq!(get(&other.url()).await.unwrap(), None);
    redis.stop();
    assert!(get(&url).await.is_err());
    assert!(redis.pause().is_err());
    redis.restart().await.unwrap();
    assert_eq!(redis.url(), url);
    assert_eq!(get(&url).await.unwrap(), None);
    // A paused server ends as well.
    redis.pause().unwrap();
    drop(redis);
    assert!(get(&url).await.is_err());
}

#[tokio::test]
async fn a_service_ends_in_a_panic() {
    let redis = Redis::start().await.unwrap();
    let url = redis.url();
    let task = tokio::spawn(async move {
        let _redis = redis;
        panic!("a test fails");
    });
    assert!(task.await.is_err());
    assert!(get(&url).await.is_err());
}

#[tokio::test]
async fn every_test_has_its_own_tables_on_postgres() {
    let server = Postgres::start().await.unwrap();
    let one = TestDatabase::on_server(&server.url()).await.unwrap();
    let other = TestDatabase::on_server(&server.url()).await.unwrap();
    assert_eq!(one.engine(), Engine::Postgres);
    let (one, other_connection) = (one.connection(), other.connection());
    one.execute_unprepared("DROP TABLE worker").await.unwrap();
    let select = "SELECT * FROM worker";
    assert!(one.execute_unprepared(select).await.is_err());
    other_connection.execute_unprepared(select).await.unwrap();
}

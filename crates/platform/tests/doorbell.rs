//! The doorbells, on the real thing.

use std::collections::BTreeSet;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use entity::{JobId, TaskId};
use platform::doorbell::embedded::EmbeddedDoorbell;
use platform::doorbell::redis::RedisDoorbell;
use platform::doorbell::{Doorbell, Hear};
use platform::events::Waker;
use platform::events::redis_waker::RedisWaker;
use platform::jobs::Ring;
use platform::settings::Secret;
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

/// A private Redis.
struct Redis {
    process: Child,
    port: u16,
    folder: tempfile::TempDir,
}

impl Redis {
    fn start() -> Self {
        let port = std::net::TcpListener::bind("127.0.0.1:0")
            .expect("a free port")
            .local_addr()
            .expect("an address")
            .port();
        let folder = tempfile::tempdir().expect("a folder");
        let redis = Self {
            process: spawn(port, folder.path()),
            port,
            folder,
        };
        redis.wait();
        redis
    }

    fn wait(&self) {
        let until = Instant::now() + Duration::from_secs(10);
        while std::net::TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            assert!(Instant::now() < until, "redis-server does not answer");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn restart(&mut self) {
        self.process.kill().expect("a running server");
        self.process.wait().expect("its end");
        self.process = spawn(self.port, self.folder.path());
        self.wait();
    }

    fn url(&self) -> Secret {
        Secret::new(format!("redis://127.0.0.1:{}/", self.port))
    }
}

fn spawn(port: u16, folder: &std::path::Path) -> Child {
    Command::new("redis-server")
        .args([
            "--port",
            &port.to_string(),
            "--bind",
            "127.0.0.1",
            "--save",
            "",
        ])
        .arg("--dir")
        .arg(folder)
        .stdout(Stdio::null())
        .spawn()
        .expect("redis-server is installed")
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

struct Heard(mpsc::UnboundedSender<Ring>);

#[async_trait]
impl Hear for Heard {
    async fn hear(&self, ring: Ring) -> Result<(), sea_orm::DbErr> {
        self.0
            .send(ring)
            .map_err(|_| sea_orm::DbErr::Custom("nobody listens".to_owned()))
    }
}

struct Ear {
    heard: mpsc::UnboundedReceiver<Ring>,
    slots: Arc<Semaphore>,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

fn listen(doorbell: &(impl Doorbell + Clone), queues: &[&str], slots: usize) -> Ear {
    let (sender, heard) = mpsc::unbounded_channel();
    let (slots, stop) = (Arc::new(Semaphore::new(slots)), CancellationToken::new());
    let queues: Vec<String> = queues.iter().map(|queue| (*queue).to_owned()).collect();
    let (doorbell, gate, stopped) = (doorbell.clone(), Arc::clone(&slots), stop.clone());
    let task = tokio::spawn(async move {
        let worker = format!("test-{}", uuid::Uuid::new_v4());
        doorbell
            .listen(&worker, &queues, gate, Arc::new(Heard(sender)), stopped)
            .await
            .expect("listening goes on until it is stopped");
    });
    Ear {
        heard,
        slots,
        stop,
        task,
    }
}

impl Ear {
    async fn next(&mut self) -> Ring {
        tokio::time::timeout(Duration::from_secs(20), self.heard.recv())
            .await
            .expect("a bell within 20 s")
            .expect("an ear")
    }

    async fn stop(self) {
        self.stop.cancel();
        tokio::time::timeout(Duration::from_secs(10), self.task)
            .await
            .expect("listening ends when it is stopped")
            .expect("no panic");
    }
}

fn ring(queue: &str) -> Ring {
    Ring {
        queue: queue.to_owned(),
        job_id: JobId::new(),
        epoch: 0,
    }
}

/// Rings until the ear has heard: an embedded ear may not be there yet.
async fn ring_until_heard(doorbell: &impl Doorbell, ear: &mut Ear, bell: &Ring) {
    let until = Instant::now() + Duration::from_secs(20);
    loop {
        doorbell
            .ring(std::slice::from_ref(bell))
            .await
            .expect("a bell that rings");
        if let Ok(Some(heard)) =
            tokio::time::timeout(Duration::from_millis(1_500), ear.heard.recv()).await
        {
            assert_eq!(heard.job_id, bell.job_id);
            return;
        }
        assert!(Instant::now() < until, "nobody heard the bell");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_embedded_bell_is_heard_by_its_queue() {
    let doorbell = EmbeddedDoorbell::new();
    let mut ear = listen(&doorbell, &["prepare", "judge"], 2);
    ring_until_heard(&doorbell, &mut ear, &ring("prepare")).await;
    ring_until_heard(&doorbell, &mut ear, &ring("judge")).await;
    ear.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_embedded_bell_waits_for_a_free_slot() {
    let doorbell = EmbeddedDoorbell::new();
    let mut ear = listen(&doorbell, &["prepare"], 1);
    ring_until_heard(&doorbell, &mut ear, &ring("prepare")).await;
    let busy = Arc::clone(&ear.slots)
        .acquire_owned()
        .await
        .expect("an open semaphore");
    let bell = ring("prepare");
    doorbell
        .ring(std::slice::from_ref(&bell))
        .await
        .expect("a bell that rings");
    let early = tokio::time::timeout(Duration::from_millis(400), ear.heard.recv()).await;
    assert!(early.is_err(), "heard without a free slot");
    drop(busy);
    assert_eq!(ear.next().await, bell);
    ear.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_bell_over_redis_is_heard_once_by_one_of_two_workers() {
    let redis = Redis::start();
    let doorbell = RedisDoorbell::connect(&redis.url(), "test").expect("an address");
    let other = RedisDoorbell::connect(&redis.url(), "test").expect("an address");
    let mut here = listen(&doorbell, &["prepare"], 4);
    let mut there = listen(&other, &["prepare"], 4);
    let bells: Vec<Ring> = (0..60).map(|_| ring("prepare")).collect();
    doorbell.ring(&bells).await.expect("bells that ring");
    let mut heard = BTreeSet::new();
    while heard.len() < bells.len() {
        let bell = tokio::select! {
            bell = here.next() => bell,
            bell = there.next() => bell,
        };
        assert!(heard.insert(bell.job_id), "heard twice");
    }
    here.stop().await;
    there.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bell_over_redis_waits_for_a_free_slot_and_leaves_it_to_others() {
    let redis = Redis::start();
    let doorbell = RedisDoorbell::connect(&redis.url(), "test").expect("an address");
    let mut busy = listen(&doorbell, &["prepare"], 0);
    let bell = ring("prepare");
    doorbell
        .ring(std::slice::from_ref(&bell))
        .await
        .expect("a bell that rings");
    let early = tokio::time::timeout(Duration::from_millis(600), busy.heard.recv()).await;
    assert!(early.is_err(), "heard without a free slot");
    let mut free = listen(&doorbell, &["prepare"], 1);
    assert_eq!(free.next().await, bell);
    busy.stop().await;
    free.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bells_are_heard_again_after_a_flush_and_after_a_restart_of_redis() {
    let mut redis = Redis::start();
    let doorbell = RedisDoorbell::connect(&redis.url(), "test").expect("an address");
    let mut ear = listen(&doorbell, &["prepare"], 4);
    ring_until_heard(&doorbell, &mut ear, &ring("prepare")).await;

    let client = redis::Client::open(redis.url().expose()).expect("an address");
    let mut connection = client
        .get_multiplexed_async_connection()
        .await
        .expect("a connection");
    let _: () = redis::cmd("FLUSHALL")
        .query_async(&mut connection)
        .await
        .expect("a flush");
    ring_until_heard(&doorbell, &mut ear, &ring("prepare")).await;

    redis.restart();
    let until = Instant::now() + Duration::from_secs(20);
    while doorbell.healthy().await.is_err() {
        assert!(
            Instant::now() < until,
            "the doorbell never finds Redis again"
        );
    }
    ring_until_heard(&doorbell, &mut ear, &ring("prepare")).await;
    ear.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ringing_without_redis_is_an_error_within_seconds() {
    let doorbell =
        RedisDoorbell::connect(&Secret::new("redis://127.0.0.1:1/"), "test").expect("an address");
    let begun = Instant::now();
    let refused = doorbell.ring(&[ring("prepare")]).await;
    assert!(refused.is_err());
    assert!(begun.elapsed() < Duration::from_secs(10));
    assert!(doorbell.healthy().await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trimming_leaves_nothing_of_bells_that_were_heard() {
    let redis = Redis::start();
    let doorbell = RedisDoorbell::connect(&redis.url(), "test").expect("an address");
    let mut ear = listen(&doorbell, &["prepare"], 4);
    let bells: Vec<Ring> = (0..20).map(|_| ring("prepare")).collect();
    doorbell.ring(&bells).await.expect("bells that ring");
    for _ in &bells {
        ear.next().await;
    }
    let client = redis::Client::open(redis.url().expose()).expect("an address");
    let mut connection = client
        .get_multiplexed_async_connection()
        .await
        .expect("a connection");
    let until = Instant::now() + Duration::from_secs(10);
    loop {
        doorbell.trim().await.expect("a trim");
        let left: usize = redis::cmd("HLEN")
            .arg("test:queue:prepare:data")
            .query_async(&mut connection)
            .await
            .expect("a count");
        let done: usize = redis::cmd("SCARD")
            .arg("test:queue:prepare:done")
            .query_async(&mut connection)
            .await
            .expect("a count");
        if left + done == 0 {
            break;
        }
        // Acknowledgements reach Redis a moment after the bell was heard.
        assert!(
            Instant::now() < until,
            "{left} bells and {done} done marks are left"
        );
    }
    ear.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_more_than_a_thousand_bells_wait_in_redis() {
    let redis = Redis::start();
    let doorbell = RedisDoorbell::connect(&redis.url(), "test").expect("an address");
    let bells: Vec<Ring> = (0..1_500).map(|_| ring("prepare")).collect();
    doorbell.ring(&bells).await.expect("bells that ring");
    doorbell
        .ring(&[ring("prepare")])
        .await
        .expect("a full queue is no error");
    let client = redis::Client::open(redis.url().expose()).expect("an address");
    let mut connection = client
        .get_multiplexed_async_connection()
        .await
        .expect("a connection");
    let waiting: usize = redis::cmd("HLEN")
        .arg("test:queue:prepare:data")
        .query_async(&mut connection)
        .await
        .expect("a count");
    assert_eq!(waiting, 1_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wake_up_reaches_the_other_process() {
    let redis = Redis::start();
    let here = RedisWaker::connect(&redis.url(), "test").expect("an address");
    let there = RedisWaker::connect(&redis.url(), "test").expect("an address");
    let mut woken = there.subscribe();
    let task = TaskId::new();
    let until = Instant::now() + Duration::from_secs(20);
    loop {
        // The other side may not have subscribed yet.
        here.wake(task).await;
        match tokio::time::timeout(Duration::from_millis(300), woken.recv()).await {
            Ok(Ok(heard)) => {
                assert_eq!(heard, task);
                break;
            }
            Ok(Err(error)) => panic!("{error}"),
            Err(_) => assert!(Instant::now() < until, "never woken"),
        }
    }
}

//! Notifiers with a real Redis.

use std::collections::BTreeSet;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use entity::{JobId, TaskId};
use platform::notify::EventNotifier;
use platform::notify::local::LocalNotifier;
use platform::notify::redis::RedisNotifier;
use platform::notify::redis_events::RedisEventNotifier;
use platform::notify::{Notifier, Subscriber};
use platform::queue::Notification;
use platform::settings::{ExposeSecret, SecretString};
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

    fn url(&self) -> SecretString {
        SecretString::from(format!("redis://127.0.0.1:{}/", self.port))
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

struct Received(mpsc::UnboundedSender<Notification>);

#[async_trait]
impl Subscriber for Received {
    async fn notified(&self, notification: Notification) -> Result<(), sea_orm::DbErr> {
        self.0
            .send(notification)
            .map_err(|_| sea_orm::DbErr::Custom("nobody listens".to_owned()))
    }
}

struct Subscription {
    received: mpsc::UnboundedReceiver<Notification>,
    slots: Arc<Semaphore>,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

fn listen(notifier: &(impl Notifier + Clone), queues: &[&str], slots: usize) -> Subscription {
    let (sender, received) = mpsc::unbounded_channel();
    let (slots, stop) = (Arc::new(Semaphore::new(slots)), CancellationToken::new());
    let queues: Vec<String> = queues.iter().map(|queue| (*queue).to_owned()).collect();
    let (notifier, gate, stopped) = (notifier.clone(), Arc::clone(&slots), stop.clone());
    let task = tokio::spawn(async move {
        let worker = format!("test-{}", uuid::Uuid::new_v4());
        notifier
            .subscribe(&worker, &queues, gate, Arc::new(Received(sender)), stopped)
            .await
            .expect("listening goes on until it is stopped");
    });
    Subscription {
        received,
        slots,
        stop,
        task,
    }
}

impl Subscription {
    async fn next(&mut self) -> Notification {
        tokio::time::timeout(Duration::from_secs(20), self.received.recv())
            .await
            .expect("a notification within 20 s")
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

fn notification(queue: &str) -> Notification {
    Notification {
        queue: queue.to_owned(),
        job_id: JobId::new(),
        epoch: 0,
    }
}

/// Repeats a notification until it is received, because the local subscription may not exist yet.
async fn notify_until_received(
    notifier: &impl Notifier,
    subscription: &mut Subscription,
    notification: &Notification,
) {
    let until = Instant::now() + Duration::from_secs(20);
    loop {
        notifier
            .notify(std::slice::from_ref(notification))
            .await
            .expect("a notification that rings");
        if let Ok(Some(received)) =
            tokio::time::timeout(Duration::from_millis(1_500), subscription.received.recv()).await
        {
            assert_eq!(received.job_id, notification.job_id);
            return;
        }
        assert!(Instant::now() < until, "nobody received the bell");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_local_notification_reaches_its_queue() {
    let notifier = LocalNotifier::new();
    let mut subscription = listen(&notifier, &["prepare", "judge"], 2);
    notify_until_received(&notifier, &mut subscription, &notification("prepare")).await;
    notify_until_received(&notifier, &mut subscription, &notification("judge")).await;
    subscription.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_local_notification_waits_for_a_free_slot() {
    let notifier = LocalNotifier::new();
    let mut subscription = listen(&notifier, &["prepare"], 1);
    notify_until_received(&notifier, &mut subscription, &notification("prepare")).await;
    let busy = Arc::clone(&subscription.slots)
        .acquire_owned()
        .await
        .expect("an open semaphore");
    let notification = notification("prepare");
    notifier
        .notify(std::slice::from_ref(&notification))
        .await
        .expect("a notification that rings");
    let early =
        tokio::time::timeout(Duration::from_millis(400), subscription.received.recv()).await;
    assert!(early.is_err(), "heard without a free slot");
    drop(busy);
    assert_eq!(subscription.next().await, notification);
    subscription.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_two_workers_receives_each_notification_through_redis() {
    let redis = Redis::start();
    let notifier = RedisNotifier::connect(&redis.url(), "test").expect("an address");
    let other = RedisNotifier::connect(&redis.url(), "test").expect("an address");
    let mut here = listen(&notifier, &["prepare"], 4);
    let mut there = listen(&other, &["prepare"], 4);
    let notifications: Vec<Notification> = (0..60).map(|_| notification("prepare")).collect();
    notifier
        .notify(&notifications)
        .await
        .expect("bells that ring");
    let mut received = BTreeSet::new();
    while received.len() < notifications.len() {
        let notification = tokio::select! {
            notification = here.next() => notification,
            notification = there.next() => notification,
        };
        assert!(received.insert(notification.job_id), "heard twice");
    }
    here.stop().await;
    there.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_busy_worker_leaves_notifications_to_others() {
    let redis = Redis::start();
    let notifier = RedisNotifier::connect(&redis.url(), "test").expect("an address");
    let mut busy = listen(&notifier, &["prepare"], 0);
    let notification = notification("prepare");
    notifier
        .notify(std::slice::from_ref(&notification))
        .await
        .expect("a notification that rings");
    let early = tokio::time::timeout(Duration::from_millis(600), busy.received.recv()).await;
    assert!(early.is_err(), "heard without a free slot");
    let mut free = listen(&notifier, &["prepare"], 1);
    assert_eq!(free.next().await, notification);
    busy.stop().await;
    free.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn notifications_work_after_a_flush_and_a_restart_of_redis() {
    let mut redis = Redis::start();
    let notifier = RedisNotifier::connect(&redis.url(), "test").expect("an address");
    let mut subscription = listen(&notifier, &["prepare"], 4);
    notify_until_received(&notifier, &mut subscription, &notification("prepare")).await;

    let client = redis::Client::open(redis.url().expose_secret()).expect("an address");
    let mut connection = client
        .get_multiplexed_async_connection()
        .await
        .expect("a connection");
    let _: () = redis::cmd("FLUSHALL")
        .query_async(&mut connection)
        .await
        .expect("a flush");
    notify_until_received(&notifier, &mut subscription, &notification("prepare")).await;

    redis.restart();
    let until = Instant::now() + Duration::from_secs(20);
    while notifier.healthy().await.is_err() {
        assert!(
            Instant::now() < until,
            "the notifier never finds Redis again"
        );
    }
    notify_until_received(&notifier, &mut subscription, &notification("prepare")).await;
    subscription.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn notifying_without_redis_fails_within_seconds() {
    let notifier = RedisNotifier::connect(&SecretString::from("redis://127.0.0.1:1/"), "test")
        .expect("an address");
    let begun = Instant::now();
    let refused = notifier.notify(&[notification("prepare")]).await;
    assert!(refused.is_err());
    assert!(begun.elapsed() < Duration::from_secs(10));
    assert!(notifier.healthy().await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trimming_removes_processed_notifications() {
    let redis = Redis::start();
    let notifier = RedisNotifier::connect(&redis.url(), "test").expect("an address");
    let mut subscription = listen(&notifier, &["prepare"], 4);
    let notifications: Vec<Notification> = (0..20).map(|_| notification("prepare")).collect();
    notifier
        .notify(&notifications)
        .await
        .expect("bells that ring");
    for _ in &notifications {
        subscription.next().await;
    }
    let client = redis::Client::open(redis.url().expose_secret()).expect("an address");
    let mut connection = client
        .get_multiplexed_async_connection()
        .await
        .expect("a connection");
    let until = Instant::now() + Duration::from_secs(10);
    loop {
        notifier.trim().await.expect("a trim");
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
        // Acknowledgements reach Redis a moment after the notification was received.
        assert!(
            Instant::now() < until,
            "{left} notifications and {done} done marks are left"
        );
    }
    subscription.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_most_a_thousand_notifications_are_pending_in_redis() {
    let redis = Redis::start();
    let notifier = RedisNotifier::connect(&redis.url(), "test").expect("an address");
    let notifications: Vec<Notification> = (0..1_500).map(|_| notification("prepare")).collect();
    notifier
        .notify(&notifications)
        .await
        .expect("bells that ring");
    notifier
        .notify(&[notification("prepare")])
        .await
        .expect("a full queue is no error");
    let client = redis::Client::open(redis.url().expose_secret()).expect("an address");
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
async fn an_event_notification_reaches_the_other_process() {
    let redis = Redis::start();
    let here = RedisEventNotifier::connect(&redis.url(), "test").expect("an address");
    let there = RedisEventNotifier::connect(&redis.url(), "test").expect("an address");
    let mut readers = there.subscribe();
    let task = TaskId::new();
    let until = Instant::now() + Duration::from_secs(20);
    loop {
        // The other side may not have subscribed yet.
        here.notify(task).await;
        match tokio::time::timeout(Duration::from_millis(300), readers.recv()).await {
            Ok(Ok(received)) => {
                assert_eq!(received, task);
                break;
            }
            Ok(Err(error)) => panic!("{error}"),
            Err(_) => assert!(Instant::now() < until, "never woken"),
        }
    }
}

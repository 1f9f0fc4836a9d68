//! Attempts to escape from the sandbox, by programs that are started like agents. Each attempt is
//! first made without a sandbox, where it must succeed. Otherwise it would prove nothing.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![cfg(target_os = "linux")]

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use agents::adapter::{Access, Limits, RawSink, SessionSpec, Stream};
use agents::failure::Cause;
use agents::process::{self, InteractiveProcess, Launch};
use agents::sandbox::{Mode, Sandbox};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

const SECRET: &str = "a-secret-of-somebody-else";

struct DiscardedLines;

impl RawSink for DiscardedLines {
    fn line(&self, _: Stream, _: &[u8]) {}
}

/// A run's HOME and workspace, and files beside them that it must not read.
struct Bench {
    folder: tempfile::TempDir,
    spec: SessionSpec,
}

impl Bench {
    fn new(sandbox: &Sandbox, access: Access) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for name in ["home", "workspace", "other/home", "mirrors/a.git"] {
            std::fs::create_dir_all(at(name)).unwrap();
        }
        std::fs::write(at("workspace/README"), "the workspace").unwrap();
        std::fs::write(at("workspace/tool"), "#!/bin/sh\necho a tool\n").unwrap();
        for name in ["other/key", "other/home/session", "mirrors/a.git/HEAD"] {
            std::fs::write(at(name), SECRET).unwrap();
        }
        std::os::unix::fs::symlink(at("other/key"), at("workspace/link")).unwrap();
        let spec = SessionSpec {
            home: at("home"),
            workspace: Some(at("workspace")),
            access,
            context_tokens: None,
            may_compact: false,
            seed: 1,
            environment: BTreeMap::new(),
            limits: Limits {
                turn: Duration::from_secs(60),
                ..Limits::default()
            },
            sandbox: sandbox.clone(),
            raw: Arc::new(DiscardedLines),
            events: mpsc::channel(1).0,
            cancel: CancellationToken::new(),
        };
        Self { folder, spec }
    }

    fn home(&self) -> &Path {
        &self.spec.home
    }

    /// Returns how to start a shell script with the paths of all files.
    fn script(&self, script: &str) -> Launch {
        let variables = [
            ("OUT", self.folder.path().display().to_string()),
            ("WORKER", std::process::id().to_string()),
            (
                "WS",
                self.folder.path().join("workspace").display().to_string(),
            ),
        ];
        Launch {
            program: PathBuf::from("/bin/sh"),
            args: vec!["-c".into(), script.into()],
            folder: self.home().to_owned(),
            readable: Vec::new(),
            home: self.home().to_owned(),
            environment: variables
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value))
                .collect(),
            input: Vec::new(),
        }
    }

    /// Returns whether a script succeeded, and its output.
    async fn run(&self, script: &str) -> (bool, String) {
        self.launch(&self.script(script)).await
    }

    async fn launch(&self, launch: &Launch) -> (bool, String) {
        let mut said = String::new();
        let ended = process::run(launch, &self.spec, |line| {
            said.push_str(&String::from_utf8_lossy(&line.bytes));
            said.push('\n');
            Ok(Vec::new())
        })
        .await
        .unwrap();
        said.push_str(&ended.stderr);
        (ended.status.success(), said)
    }
}

/// The sandboxes of this machine. A missing one must give a reason.
fn sandboxes() -> Vec<Sandbox> {
    [(Mode::Landlock, "landlock"), (Mode::Bwrap, "bubblewrap")]
        .into_iter()
        .filter_map(|(mode, name)| match Sandbox::detect(mode) {
            Ok(sandbox) => {
                assert!(sandbox.report().filesystem);
                Some(sandbox)
            }
            Err(why) => {
                assert!(
                    why.to_lowercase().contains(name) || why.contains("bwrap"),
                    "{why}"
                );
                None
            }
        })
        .collect()
}

fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// Makes an attempt without a sandbox, where it must succeed, and in each sandbox, where it must
/// fail.
async fn fails_everywhere(access: Access, attempts: &[&str]) {
    for attempt in attempts {
        let (done, said) = Bench::new(&Sandbox::none(), access).run(attempt).await;
        assert!(done, "no attempt at all: {attempt}: {said}");
        for sandbox in sandboxes() {
            let (done, said) = Bench::new(&sandbox, access).run(attempt).await;
            let words = sandbox.report().words;
            assert!(!done, "{words}: {attempt} succeeded: {said}");
            assert!(!said.contains(SECRET), "{words}: {attempt} saw {said}");
        }
    }
}

#[tokio::test]
async fn a_required_sandbox_is_used_or_refused_with_a_reason() {
    for (mode, kind) in [(Mode::Landlock, "landlock"), (Mode::Bwrap, "bwrap")] {
        match Sandbox::detect(mode) {
            Ok(sandbox) => assert_eq!(sandbox.report().kind, kind),
            Err(why) => assert!(why.len() > 10, "{why:?} is no reason"),
        }
    }
    let chosen = Sandbox::detect(Mode::Auto).unwrap().report();
    match (
        Sandbox::detect(Mode::Landlock),
        Sandbox::detect(Mode::Bwrap),
    ) {
        (Ok(_), _) => assert_eq!(chosen.kind, "landlock"),
        (Err(_), Ok(_)) => assert_eq!(chosen.kind, "bwrap"),
        (Err(why), Err(_)) => assert!(chosen.words.contains(&why), "{chosen:?}"),
    }
}

#[tokio::test]
async fn a_program_can_do_its_work() {
    for sandbox in sandboxes() {
        let bench = Bench::new(&sandbox, Access::Workspace);
        let works = [
            r#"cat "$WS/README" && ls "$WS""#,
            r#"sh "$WS/tool""#,
            r#"echo x > "$HOME/file" && mkdir -p "$HOME/a/b" && mv "$HOME/file" "$HOME/a/b/file""#,
            r#"cp /bin/true "$HOME/tool" && "$HOME/tool""#,
            r#"echo x > "$(mktemp)""#,
            "cat /proc/self/status /proc/meminfo > /dev/null && head -c 1 /dev/urandom > /dev/null",
            "(echo one; echo two) | sort -r | grep -q two",
        ];
        for script in works {
            let (done, said) = bench.run(script).await;
            assert!(done, "{}: {script}: {said}", sandbox.report().words);
        }
        let mut launch = bench.script("pwd");
        launch.folder = bench.folder.path().join("workspace");
        let (done, said) = bench.launch(&launch).await;
        assert!(done && said.trim().ends_with("/workspace"), "{said}");
    }
}

#[tokio::test]
async fn a_workspace_cannot_be_changed() {
    let attempts = [
        r#"echo x > "$WS/README""#,
        r#"echo x >> "$WS/README""#,
        r#"touch "$WS/new" && ls "$WS/new""#,
        r#"rm "$WS/README""#,
        r#"mv "$WS/README" "$HOME/README""#,
        r#"ln "$WS/README" "$HOME/README""#,
        r#"mkdir "$WS/folder""#,
    ];
    fails_everywhere(Access::Workspace, &attempts).await;
}

#[tokio::test]
async fn a_workspace_cannot_be_truncated_if_the_kernel_can_check() {
    let attempt = r#"truncate -s 0 "$WS/README""#;
    for sandbox in sandboxes() {
        if sandbox.report().abi.is_none_or(|abi| abi >= 3) {
            let (done, said) = Bench::new(&sandbox, Access::Workspace).run(attempt).await;
            assert!(!done, "{said}");
        } else {
            assert!(sandbox.report().words.contains("not: emptying files"));
        }
    }
}

#[tokio::test]
async fn a_sealed_program_cannot_read_the_workspace() {
    let attempts = [r#"cat "$WS/README""#, r#"ls "$WS""#, r#"sh "$WS/tool""#];
    fails_everywhere(Access::Sealed, &attempts).await;
}

#[tokio::test]
async fn other_files_cannot_be_read() {
    let attempts = [
        r#"cat "$OUT/other/key""#,
        r#"cat "$OUT/other/home/session""#,
        r#"cat "$OUT/mirrors/a.git/HEAD""#,
        r#"ls "$OUT" | grep other"#,
        r#"ls "$HOME/.." | grep other"#,
        r#"cat "$HOME/../other/key""#,
        r#"cat "$WS/../other/key""#,
        r#"cat "$WS/link""#,
        r#"ln -s "$OUT/other/key" "$HOME/link" && cat "$HOME/link""#,
        r#"ln "$OUT/other/key" "$HOME/link" && cat "$HOME/link""#,
        r#"mv "$OUT/other/key" "$HOME/key" && cat "$HOME/key""#,
        r#"cd "$OUT/other" && cat key"#,
        r#"cat "/proc/self/root$OUT/other/key""#,
        r#"touch "$OUT/other/new" && ls "$OUT/other/new""#,
        // Child processes are confined too, also in a session of their own.
        r#"(cat "$OUT/other/key") & wait $!"#,
        r#"setsid -w sh -c 'cat "$OUT/other/key"'"#,
    ];
    fails_everywhere(Access::Workspace, &attempts).await;
}

#[tokio::test]
async fn the_process_of_the_worker_is_protected() {
    let attempts = [
        r#"cat "/proc/$WORKER/environ""#,
        r#"cat "/proc/$WORKER/maps""#,
        r#"readlink "/proc/$WORKER/fd/1""#,
        r#"ls "/proc/$WORKER/cwd/""#,
        r#"cat "/proc/$WORKER/root$OUT/other/key""#,
    ];
    fails_everywhere(Access::Workspace, &attempts).await;
    for sandbox in sandboxes() {
        // Signal 0 only checks whether the process exists.
        let attempt = r#"kill -0 "$WORKER""#;
        let (done, _) = Bench::new(&sandbox, Access::Workspace).run(attempt).await;
        assert_eq!(done, !sandbox.report().processes, "{:?}", sandbox.report());
    }
}

#[tokio::test]
async fn the_environment_of_another_agent_is_protected() {
    let attempt = |pid: &str| format!(r#"grep -q {SECRET} "/proc/{pid}/environ""#);
    for sandbox in std::iter::once(Sandbox::none()).chain(sandboxes()) {
        let other = Bench::new(&sandbox, Access::Sealed);
        let mut launch = other.script("echo $$; cat");
        launch
            .environment
            .insert("KEY".to_owned(), SECRET.to_owned());
        let mut process = InteractiveProcess::start(&launch, &other.spec)
            .await
            .unwrap();
        let line = process.next().await.unwrap().unwrap();
        let pid = String::from_utf8(line.bytes).unwrap();
        let bench = Bench::new(&sandbox, Access::Sealed);
        let (done, said) = bench.run(&attempt(&pid)).await;
        assert_eq!(done, !sandbox.report().filesystem, "{said}");
        process.terminate().await;
    }
}

#[tokio::test]
async fn a_long_running_program_is_confined_too() {
    for sandbox in std::iter::once(Sandbox::none()).chain(sandboxes()) {
        let bench = Bench::new(&sandbox, Access::Workspace);
        let launch = bench.script(r#"cat "$OUT/other/key" || echo; cat"#);
        let mut process = InteractiveProcess::start(&launch, &bench.spec)
            .await
            .unwrap();
        process.write_line(b"").await.unwrap();
        let line = process.next().await.unwrap().unwrap();
        let seen = String::from_utf8_lossy(&line.bytes).contains(SECRET);
        assert_eq!(seen, !sandbox.report().filesystem);
        process.terminate().await;
    }
}

#[tokio::test]
async fn root_cannot_escape() {
    let attempts = [
        r#"mknod "$HOME/device" c 1 5 && head -c 1 "$HOME/device""#,
        r#"mkdir "$HOME/m" && unshare -m sh -c 'mount --bind "$OUT/other" "$HOME/m" && cat "$HOME/m/key"'"#,
        r#"chroot "/proc/$WORKER/root" cat "$OUT/other/key""#,
    ];
    if is_root() {
        fails_everywhere(Access::Workspace, &attempts).await;
    }
    for sandbox in sandboxes() {
        let bench = Bench::new(&sandbox, Access::Workspace);
        let (done, said) = bench
            .run("grep -E 'CapEff|NoNewPrivs' /proc/self/status")
            .await;
        assert!(done, "{said}");
        let fields: BTreeMap<_, _> = said
            .lines()
            .filter_map(|line| line.split_once(":\t"))
            .collect();
        let capabilities = u64::from_str_radix(fields["CapEff"], 16).unwrap();
        let modes_of_files = 1 << 1;
        assert_eq!(capabilities & !modes_of_files, 0, "{said}");
        assert_eq!(fields["NoNewPrivs"], "1");
    }
}

fn connect(port: u16) -> String {
    format!(r#"bash -c 'exec 3<>/dev/tcp/127.0.0.1/{port}'"#)
}

fn listen(port: u16) -> String {
    let open =
        r#"IO::Socket::INET->new(Listen => 1, LocalAddr => "127.0.0.1", LocalPort => $ARGV[0])"#;
    format!("perl -MIO::Socket::INET -e '{open} or exit 1' {port}")
}

/// A port without a listener.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

#[tokio::test]
async fn only_allowed_ports_can_be_reached() {
    let [allowed, other] = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    let [allowed_port, other_port] = [&allowed, &other].map(|l| l.local_addr().unwrap().port());
    let open = Bench::new(&Sandbox::none(), Access::Workspace);
    assert!(open.run(&connect(other_port)).await.0);
    assert!(open.run(&listen(free_port())).await.0);
    for sandbox in sandboxes() {
        let any = Bench::new(&sandbox, Access::Workspace);
        let (done, said) = any.run(&connect(other_port)).await;
        assert!(done, "{said}");
        match sandbox.connecting_only_to(&[allowed_port]) {
            Ok(sandbox) => {
                let bench = Bench::new(&sandbox, Access::Workspace);
                let (done, said) = bench.run(&connect(allowed_port)).await;
                assert!(done, "{said}");
                let (done, said) = bench.run(&connect(other_port)).await;
                assert!(!done && said.contains("Permission denied"), "{said}");
                let (done, said) = bench.run(&listen(free_port())).await;
                assert!(!done, "{said}");
                let port = free_port();
                let bench = Bench::new(&sandbox.listening_on(port), Access::Workspace);
                let (done, said) = bench.run(&listen(port)).await;
                assert!(done, "{said}");
                let words = sandbox.report().words;
                assert!(words.contains(&allowed_port.to_string()), "{words}");
            }
            Err(why) => assert!(why.contains("ABI 4"), "{why}"),
        }
    }
}

#[tokio::test]
async fn a_configured_certificate_can_be_read() {
    for sandbox in sandboxes() {
        let bench = Bench::new(&sandbox, Access::Sealed);
        let certificate = bench.folder.path().join("other/key");
        let mut launch = bench.script(r#"cat "$SSL_CERT_FILE""#);
        let named = |path: &Path| ("SSL_CERT_FILE".to_owned(), path.display().to_string());
        launch.environment.extend([named(&certificate)]);
        let (done, said) = bench.launch(&launch).await;
        assert!(done, "{said}");
        // A folder would allow all of its content.
        let mut launch = bench.script(r#"cat "$OUT/other/key""#);
        launch.environment.extend([named(bench.folder.path())]);
        assert!(!bench.launch(&launch).await.0);
    }
}

#[tokio::test]
async fn orphaned_processes_die_with_their_program() {
    for sandbox in std::iter::once(Sandbox::none()).chain(sandboxes()) {
        let bench = Bench::new(&sandbox, Access::Workspace);
        let pipe = bench.home().join("pipe");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        // Ends when no process has the pipe open any more.
        let reading = tokio::task::spawn_blocking(move || std::fs::read_to_string(pipe).unwrap());
        let script = r#"(exec 3> "$HOME/pipe"; echo up >&3; touch "$HOME/up"; sleep 600) &
            while [ ! -e "$HOME/up" ]; do sleep 0.01; done"#;
        let (done, said) = bench.run(script).await;
        assert!(done, "{said}");
        let heard = tokio::time::timeout(Duration::from_secs(20), reading).await;
        assert_eq!(heard.expect("it still lives").unwrap(), "up\n");
    }
}

#[tokio::test]
async fn bounds_that_would_not_hold_are_a_harness_failure() {
    for sandbox in sandboxes() {
        let bench = Bench::new(&sandbox, Access::Workspace);
        let mut launch = bench.script("true");
        launch.readable = vec![bench.folder.path().to_owned()];
        let failure = process::run(&launch, &bench.spec, |_| Ok(Vec::new())).await;
        let failure = failure.unwrap_err();
        assert_eq!(failure.cause, Cause::Harness);
        assert!(failure.message.contains("may read"), "{failure}");
        let mut launch = bench.script("true");
        launch.folder = bench.folder.path().join("other");
        let failure = process::run(&launch, &bench.spec, |_| Ok(Vec::new())).await;
        assert!(failure.unwrap_err().message.contains("neither in"));
    }
}

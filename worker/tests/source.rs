//! From a source to a pull request, with a real git and a forge on this machine.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "support/sources.rs"]
mod sources;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use entity::task::Source;
use evaluation::pull_request::{FileStatus, PullRequest};
use sources::{Place, files, git, many, told, wide};
use testkit::forge::{Fault, Forge};
use testkit::repository::build_repository;
use tokio_util::sync::CancellationToken;
use worker::pull_request::{UseLimits, resolve};
use worker::workspace::WorkspaceError;

fn paths(pull_request: &PullRequest) -> Vec<&str> {
    let files = pull_request.files.iter();
    files.map(|file| file.path.as_str()).collect()
}

fn reasons(pull_request: &PullRequest) -> BTreeMap<&str, &str> {
    let dropped = pull_request.dropped.iter();
    dropped
        .map(|dropped| (dropped.path.as_str(), dropped.reason.as_str()))
        .collect()
}

#[tokio::test]
async fn every_status_is_told_and_what_is_no_text_is_left_out() {
    let place = Place::new();
    let repository = place.repository("shop");
    let base = sources::commit(
        &repository,
        &[
            (b"keep.rs", "100644", b"fn keep() {}\n"),
            (b"edit.rs", "100644", b"fn edit() {}\n"),
            (
                b"old/name.rs",
                "100644",
                many("let a = 1;\n", 30).as_slice(),
            ),
            (b"gone.rs", "100644", b"fn gone() {}\n"),
            (b"kind", "100644", b"a file\n"),
            (b"mode.sh", "100644", b"true\n"),
        ],
        None,
    );
    let renamed = [many("let a = 1;\n", 30), b"let b = 2;\n".to_vec()].concat();
    let huge = many("a line of a file that nobody reads\n", 20_000);
    let head = sources::commit(
        &repository,
        &[
            (b"keep.rs", "100644", b"fn keep() {}\n"),
            (b"edit.rs", "100644", b"fn edit() {\n    edited();\n}\n"),
            (b"new/name.rs", "100644", &renamed),
            (b"add.rs", "100644", b"fn add() {}\n"),
            (b"empty.rs", "100644", b""),
            (b"kind", "120000", b"edit.rs"),
            (b"mode.sh", "100755", b"true\n"),
            (b"image.png", "100644", b"\x89PNG\0\0\0\0"),
            (
                b"late.bin",
                "100644",
                &[many("text\n", 3_000), b"\0".to_vec()].concat(),
            ),
            (b"latin.txt", "100644", b"caf\xe9\n"),
            (b"caf\xe9.txt", "100644", b"text\n"),
            (b"two\nlines.txt", "100644", b"text\n"),
            (b"\xc3\xbc.txt", "100644", b"text\n"),
            (b"link", "120000", b"/etc/passwd"),
            (b"huge.txt", "100644", &huge),
            (b"module", "160000", b""),
        ],
        Some(&base),
    );
    let resolved = place.resolve(&repository, &base, &head).await.unwrap();
    let change = resolved.pull_request;
    assert_eq!(
        (change.base.as_str(), change.head.as_str()),
        (&*base, &*head)
    );
    let statuses: Vec<_> = change
        .files
        .iter()
        .map(|f| (f.path.as_str(), f.status))
        .collect();
    assert_eq!(
        statuses,
        [
            ("add.rs", FileStatus::Added),
            ("edit.rs", FileStatus::Modified),
            ("empty.rs", FileStatus::Added),
            ("gone.rs", FileStatus::Deleted),
            ("mode.sh", FileStatus::Modified),
            ("new/name.rs", FileStatus::Renamed),
            ("ü.txt", FileStatus::Added),
        ]
    );
    let renamed = &change.files[5];
    assert_eq!(renamed.old_path.as_deref(), Some("old/name.rs"));
    assert_eq!(renamed.hunks.len(), 1);
    assert!(
        change.files[1]
            .patch
            .starts_with("diff --git a/edit.rs b/edit.rs\n")
    );
    assert_eq!(change.files[3].head_text, None);
    assert_eq!(change.files[0].head_text.as_deref(), Some("fn add() {}\n"));
    let reasons = reasons(&change);
    assert_eq!(reasons["kind"], "a symbolic link");
    assert_eq!(reasons["link"], "a symbolic link");
    assert_eq!(reasons["module"], "a submodule");
    assert_eq!(reasons["latin.txt"], "its text is not UTF-8");
    assert_eq!(reasons["caf\u{fffd}.txt"], "its name is not UTF-8");
    assert_eq!(reasons["two\nlines.txt"], "its name has control characters");
    assert_eq!(reasons["late.bin"], "binary");
    assert!(reasons["image.png"].starts_with("binary"));
    assert!(reasons["huge.txt"].starts_with("its diff is larger"));
    assert_eq!(reasons.len(), 9, "{reasons:?}");
    assert_eq!(change.other_paths, ["keep.rs"]);
}

#[tokio::test]
async fn an_empty_diff_has_no_files() {
    let place = Place::new();
    let repository = place.folder().join("repos/same");
    let same = files(&[("a.rs", "fn a() {}\n")]);
    let (base, head) = build_repository(&repository, &same, &same).await.unwrap();
    for (base, head) in [(&base, &head), (&head, &head)] {
        let resolved = place.resolve(&repository, base, head).await.unwrap();
        assert_eq!(resolved.pull_request.files, []);
        assert_eq!(resolved.pull_request.dropped, []);
        assert_eq!(resolved.pull_request.other_paths, ["a.rs"]);
    }
}

#[tokio::test]
async fn the_largest_changes_are_used_and_generated_files_come_last() {
    let place = Place::new();
    let repository = place.folder().join("repos/limits");
    let base = files(&[("start", "x\n")]);
    let mut head = base.clone();
    for (path, lines) in [("a.rs", 3), ("b.rs", 9), ("c.rs", 6), ("Cargo.lock", 500)] {
        head.insert(path.to_owned(), many("line\n", lines));
    }
    let (base, head) = build_repository(&repository, &base, &head).await.unwrap();
    let source = Place::local(&repository, &base, &head);
    let limits = |max_files, patch_bytes| UseLimits {
        max_files,
        patch_bytes,
        file_bytes: 10_000,
    };
    let two = place
        .resolve_with(&source, limits(2, 1 << 20))
        .await
        .unwrap();
    assert_eq!(paths(&two.pull_request), ["b.rs", "c.rs"]);
    assert_eq!(reasons(&two.pull_request)["a.rs"], "over max_files (2)");
    assert_eq!(
        reasons(&two.pull_request)["Cargo.lock"],
        "over max_files (2)"
    );
    let small = place.resolve_with(&source, limits(9, 1_000)).await.unwrap();
    assert_eq!(paths(&small.pull_request), ["a.rs", "b.rs", "c.rs"]);
    let none = place.resolve_with(&source, limits(0, 1_000)).await.unwrap();
    assert_eq!(none.pull_request.files.len(), 0);
    assert_eq!(none.pull_request.dropped.len(), 4);
}

#[tokio::test]
async fn a_change_among_ten_thousand_files_is_found_quickly() {
    let place = Place::new();
    let repository = place.repository("wide");
    let (base, head) = wide(&repository, 10_000);
    let begun = Instant::now();
    let resolved = place.resolve(&repository, &base, &head).await.unwrap();
    assert_eq!(paths(&resolved.pull_request), ["d00/f0.rs"]);
    assert_eq!(resolved.pull_request.other_paths.len(), 3_000);
    assert!(
        begun.elapsed() < Duration::from_secs(10),
        "{:?}",
        begun.elapsed()
    );
}

#[tokio::test]
async fn options_paths_and_nonsense_are_no_revisions() {
    let place = Place::new();
    let repository = place.folder().join("repos/revisions");
    let (base, head) = build_repository(
        &repository,
        &files(&[("a", "1\n")]),
        &files(&[("a", "2\n")]),
    )
    .await
    .unwrap();
    for odd in [
        "--upload-pack=touch /tmp/never",
        "-x",
        "--all",
        "",
        "no-such-branch",
        "main\0",
        "main..head",
        "HEAD:a",
        "main\nHEAD",
    ] {
        let error = place.resolve(&repository, odd, &head).await.unwrap_err();
        assert!(
            matches!(error, WorkspaceError::Refused(_)),
            "{odd:?}: {error:?}"
        );
        let error = place.resolve(&repository, &base, odd).await.unwrap_err();
        assert!(
            matches!(error, WorkspaceError::Refused(_)),
            "{odd:?}: {error:?}"
        );
    }
    let resolved = place.resolve(&repository, "HEAD~1", "main").await.unwrap();
    assert_eq!(resolved.pull_request.base, base);
    assert_eq!(resolved.pull_request.head, head);
}

#[tokio::test]
async fn a_repository_outside_the_allowed_folders_is_refused() {
    let place = Place::new();
    let outside = tempfile::tempdir().unwrap();
    let change = (files(&[("a", "1\n")]), files(&[("a", "2\n")]));
    let (base, head) = build_repository(outside.path(), &change.0, &change.1)
        .await
        .unwrap();
    let link = place.folder().join("repos/link");
    std::fs::create_dir_all(link.parent().unwrap()).unwrap();
    std::os::unix::fs::symlink(outside.path(), &link).unwrap();
    let climbing = place
        .folder()
        .join("repos/../..")
        .join(outside.path().file_name().unwrap());
    for path in [outside.path(), &link, &climbing, Path::new("/nowhere")] {
        let error = place.resolve(path, &base, &head).await.unwrap_err();
        assert!(
            matches!(error, WorkspaceError::Refused(_)),
            "{path:?}: {error:?}"
        );
    }
}

#[tokio::test]
async fn a_folder_inside_a_repository_is_not_taken_for_it() {
    let place = Place::new();
    let repository = place.folder().join("repos/outer");
    let change = (files(&[("in/a", "1\n")]), files(&[("in/a", "2\n")]));
    let (base, head) = build_repository(&repository, &change.0, &change.1)
        .await
        .unwrap();
    let error = place
        .resolve(&repository.join("in"), &base, &head)
        .await
        .unwrap_err();
    assert!(
        error.to_string().contains("not a git repository"),
        "{error}"
    );
}

#[tokio::test]
async fn histories_without_a_common_commit_are_refused() {
    let place = Place::new();
    let repository = place.repository("strangers");
    let one = sources::commit(&repository, &[(b"a", "100644", b"1\n")], None);
    let other = sources::commit(&repository, &[(b"b", "100644", b"2\n")], None);
    let error = place.resolve(&repository, &one, &other).await.unwrap_err();
    assert!(error.to_string().contains("no common history"), "{error}");
}

#[tokio::test]
async fn a_local_repository_runs_nothing_of_its_own() {
    let place = Place::new();
    let repository = place.folder().join("repos/trap");
    let mut head = files(&[
        ("a.txt", "2\n"),
        (".gitattributes", "* filter=trap diff=trap\n"),
    ]);
    head.insert("b.txt".to_owned(), b"b\n".to_vec());
    let (base, head) = build_repository(&repository, &files(&[("a.txt", "1\n")]), &head)
        .await
        .unwrap();
    let sprung = place.folder().join("sprung");
    let trap = place.folder().join("trap.sh");
    std::fs::write(
        &trap,
        format!("#!/bin/sh\ntouch {}\ncat\n", sprung.display()),
    )
    .unwrap();
    git(&place.folder(), &["init", "-q", "unused"]);
    std::process::Command::new("chmod")
        .arg("+x")
        .arg(&trap)
        .status()
        .unwrap();
    let trap = trap.to_str().unwrap();
    for name in [
        "core.fsmonitor",
        "core.sshCommand",
        "core.pager",
        "core.editor",
        "core.alternateRefsCommand",
        "uploadpack.packObjectsHook",
        "diff.external",
        "diff.trap.command",
        "diff.trap.textconv",
        "filter.trap.smudge",
        "filter.trap.clean",
        "filter.trap.process",
        "credential.helper",
        "gpg.program",
        "alias.rev-parse",
    ] {
        git(&repository, &["config", name, trap]);
    }
    for hook in [
        "post-checkout",
        "reference-transaction",
        "post-index-change",
        "pre-auto-gc",
    ] {
        let hooks = repository.join(".git/hooks");
        std::fs::create_dir_all(&hooks).unwrap();
        std::fs::copy(trap, hooks.join(hook)).unwrap();
    }
    let resolved = place.resolve(&repository, &base, &head).await.unwrap();
    assert_eq!(
        paths(&resolved.pull_request),
        [".gitattributes", "a.txt", "b.txt"]
    );
    let folder = place.folder().join("checkout");
    place
        .checkout(&resolved.mirror, &head, &folder)
        .await
        .unwrap();
    assert_eq!(std::fs::read(folder.join("a.txt")).unwrap(), b"2\n");
    assert!(!sprung.exists());
}

#[tokio::test]
async fn branches_may_take_each_others_names() {
    let place = Place::new();
    let repository = place.folder().join("repos/names");
    let (base, head) = build_repository(
        &repository,
        &files(&[("a", "1\n")]),
        &files(&[("a", "2\n")]),
    )
    .await
    .unwrap();
    git(&repository, &["branch", "topic", &base]);
    place.resolve(&repository, "topic", "topic").await.unwrap();
    git(&repository, &["branch", "-D", "topic"]);
    git(&repository, &["branch", "topic/more", &head]);
    let resolved = place
        .resolve(&repository, &base, "topic/more")
        .await
        .unwrap();
    assert_eq!(paths(&resolved.pull_request), ["a"]);
}

#[tokio::test]
async fn a_pull_request_is_read_from_a_forge_with_its_title() {
    let (place, forge) = (Place::new(), Forge::start().await.unwrap());
    let (base, head) = sample(&forge, 7).await;
    let told = told();
    let resolved = place.resolve_on(&forge, 7, &told).await.unwrap();
    assert_eq!(resolved.pull_request.title.as_deref(), Some("Change shop"));
    assert_eq!(resolved.pull_request.base, base);
    assert_eq!(resolved.pull_request.head, head);
    assert_eq!(paths(&resolved.pull_request), ["a.rs"]);
    assert_eq!(told.stages(), ["resolve", "fetch", "diff"]);
}

#[tokio::test]
async fn without_its_api_a_forge_still_has_the_merge_base() {
    let (place, forge) = (Place::new(), Forge::start().await.unwrap());
    let (base, head) = sample(&forge, 1).await;
    forge.set_fault(Fault::ApiDown);
    let told = told();
    let resolved = place.resolve_on(&forge, 1, &told).await.unwrap();
    assert_eq!(resolved.pull_request.title, None);
    assert_eq!(
        (resolved.pull_request.base, resolved.pull_request.head),
        (base, head)
    );
    assert!(
        told.text().contains("taking the merge base with main"),
        "{}",
        told.text()
    );
}

#[tokio::test]
async fn a_merged_pull_request_still_has_its_change() {
    for fault in [Fault::None, Fault::ApiDown] {
        let (place, forge) = (Place::new(), Forge::start().await.unwrap());
        let (base, head) = sample(&forge, 1).await;
        let bare = forge.repository("owner", "shop");
        let tree = format!("{head}^{{tree}}");
        let merge = git(
            &bare,
            &[
                "commit-tree",
                &tree,
                "-p",
                &base,
                "-p",
                &head,
                "-m",
                "Merge",
            ],
        );
        git(&bare, &["update-ref", "refs/heads/main", &merge]);
        forge.set_fault(fault);
        let resolved = place.resolve_on(&forge, 1, &told()).await.unwrap();
        assert_eq!(resolved.pull_request.base, base, "{fault:?}");
        assert_eq!(paths(&resolved.pull_request), ["a.rs"], "{fault:?}");
    }
}

#[tokio::test]
async fn a_forge_cannot_send_the_worker_elsewhere() {
    let (place, forge) = (Place::new(), Forge::start().await.unwrap());
    sample(&forge, 1).await;
    forge.set_fault(Fault::Redirects);
    let error = place.resolve_on(&forge, 1, &told()).await.unwrap_err();
    assert!(matches!(error, WorkspaceError::Git { .. }), "{error:?}");
}

#[tokio::test]
async fn what_is_not_there_is_refused_and_not_tried_again() {
    let (place, forge) = (Place::new(), Forge::start().await.unwrap());
    sample(&forge, 1).await;
    let error = place.resolve_on(&forge, 2, &told()).await.unwrap_err();
    assert!(matches!(error, WorkspaceError::Refused(_)), "{error:?}");
    forge.set_fault(Fault::Missing);
    let error = place.resolve_on(&forge, 1, &told()).await.unwrap_err();
    assert!(matches!(error, WorkspaceError::Refused(_)), "{error:?}");
}

#[tokio::test]
async fn only_listed_forges_and_real_names_are_asked() {
    let (place, forge) = (Place::new(), Forge::start().await.unwrap());
    sample(&forge, 1).await;
    let at = |base_url: &str, owner: &str, name: &str, number| Source::Forge {
        base_url: base_url.to_owned(),
        owner: owner.to_owned(),
        name: name.to_owned(),
        number,
    };
    let good = forge.base_url();
    let with_user = good.replace("http://", "http://user:word@");
    for source in [
        at("https://elsewhere.invalid", "owner", "shop", 1),
        at(&with_user, "owner", "shop", 1),
        at(&format!("{good}/"), "owner", "shop", 1),
        at(&format!("{good}.invalid"), "owner", "shop", 1),
        at("ext::sh -c x", "owner", "shop", 1),
        at("file:///", "owner", "shop", 1),
        at(&good, "--upload-pack=x", "shop", 1),
        at(&good, "..", "shop", 1),
        at(&good, "owner", "../../etc", 1),
        at(&good, "owner", "shop?x", 1),
        at(&good, "owner", "", 1),
        at(&good, "owner", "shop", 0),
    ] {
        let error = place.resolve_source(&forge, &source).await.unwrap_err();
        assert!(
            matches!(error, WorkspaceError::Refused(_)),
            "{source:?}: {error:?}"
        );
        assert!(!error.to_string().contains("word"), "{error}");
    }
    assert_eq!(forge.asked(), Vec::<String>::new());
}

#[tokio::test]
async fn two_may_resolve_the_same_repository_at_once() {
    let (place, forge) = (Place::new(), Forge::start().await.unwrap());
    sample(&forge, 1).await;
    let (one, other) = (told(), told());
    let (one, other) = tokio::join!(
        place.resolve_on(&forge, 1, &one),
        place.resolve_on(&forge, 1, &other),
    );
    let (one, other) = (one.unwrap(), other.unwrap());
    assert_eq!(one.mirror, other.mirror);
    assert_eq!(one.pull_request, other.pull_request);
}

#[tokio::test]
async fn a_cancelled_fetch_ends_at_once() {
    let (place, forge) = (Place::new(), Forge::start().await.unwrap());
    sample(&forge, 1).await;
    forge.set_fault(Fault::Silent);
    let settings = place.settings_for(&forge);
    let source = Place::on_forge(&forge, 1);
    let cancel = CancellationToken::new();
    let told = |stage, _: String| {
        if stage == "fetch" {
            cancel.cancel();
        }
    };
    let begun = Instant::now();
    let error = resolve(&settings, &source, sources::LIMITS, &cancel, &told)
        .await
        .unwrap_err();
    assert!(matches!(error, WorkspaceError::Cancelled), "{error:?}");
    assert!(begun.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn a_fetch_that_takes_too_long_is_ended() {
    let (place, forge) = (Place::new(), Forge::start().await.unwrap());
    sample(&forge, 1).await;
    forge.set_fault(Fault::Silent);
    let mut settings = place.settings_for(&forge);
    settings.forge.timeout = Duration::from_secs(1);
    let source = Place::on_forge(&forge, 1);
    let told = |_, _: String| {};
    let cancel = CancellationToken::new();
    let error = resolve(&settings, &source, sources::LIMITS, &cancel, &told)
        .await
        .unwrap_err();
    assert!(
        matches!(error, WorkspaceError::TimedOut { .. }),
        "{error:?}"
    );
}

/// A pull request of `owner/shop`.
async fn sample(forge: &Forge, number: u64) -> (String, String) {
    let base = files(&[("a.rs", "fn a() {}\n"), ("b.rs", "fn b() {}\n")]);
    let head = files(&[("a.rs", "fn a() {\n    b();\n}\n"), ("b.rs", "fn b() {}\n")]);
    forge
        .add_pull_request("owner", "shop", number, &base, &head)
        .await
        .unwrap()
}

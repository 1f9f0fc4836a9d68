//! Mirrors and checkouts of repositories that mean no good, or are damaged.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "support/sources.rs"]
mod sources;

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use sources::{Place, commit, files, git, many, wide};
use testkit::repository::build_repository;
use worker::workspace::WorkspaceError;

/// Every path below a folder.
fn all(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path());
            } else {
                found.push(entry.path().strip_prefix(folder).unwrap().to_owned());
            }
        }
    }
    found.sort();
    found
}

async fn checked_out(place: &Place, repository: &Path, head: &str) -> PathBuf {
    let source = Place::local(repository, head, head);
    let mirror = place.mirror(&source, head).await.unwrap();
    let folder = place.folder().join("checkout");
    place.checkout(&mirror, head, &folder).await.unwrap();
    folder
}

#[tokio::test]
async fn a_checkout_has_the_bytes_of_the_commit_and_no_more() {
    let place = Place::new();
    let repository = place.repository("plain");
    let head = commit(
        &repository,
        &[
            (
                b".gitattributes",
                "100644",
                b"*.txt text eol=crlf export-ignore filter=x ident\n",
            ),
            (b"a.txt", "100644", b"one\ntwo $Id$\n"),
            (b"deep/er/b.txt", "100755", b"\xff\xfe\0"),
            (b"caf\xe9", "100644", b"latin\n"),
            (b"empty", "100644", b""),
            (b"module", "160000", b""),
        ],
        None,
    );
    let folder = checked_out(&place, &repository, &head).await;
    assert_eq!(
        std::fs::read(folder.join("a.txt")).unwrap(),
        b"one\ntwo $Id$\n"
    );
    assert_eq!(
        std::fs::read(folder.join("deep/er/b.txt")).unwrap(),
        b"\xff\xfe\0"
    );
    assert_eq!(
        std::fs::read(folder.join(OsStr::from_bytes(b"caf\xe9"))).unwrap(),
        b"latin\n"
    );
    assert_eq!(all(&folder).len(), 5);
    assert!(!folder.join(".git").exists());
}

#[tokio::test]
async fn names_and_links_that_lead_elsewhere_are_not_written() {
    let place = Place::new();
    let repository = place.repository("hostile");
    let head = commit(
        &repository,
        &[
            (b".git/hooks/post-checkout", "100755", b"#!/bin/sh\n"),
            (b".GIT/config", "100644", b"x"),
            (b"sub/.Git/config", "100644", b"x"),
            (b".git /config", "100644", b"x"),
            (b"git~1/config", "100644", b"x"),
            (b"../escaped", "100644", b"x"),
            (b"down/../../escaped", "100644", b"x"),
            (b"good", "100644", b"good"),
            (b"inside", "120000", b"good"),
            (b"deep/inside", "120000", b"../good"),
            (b"absolute", "120000", b"/etc/passwd"),
            (b"up", "120000", b"../../outside"),
            (b"deep/up", "120000", b"../../outside"),
            (b"deep/round", "120000", b"x/../../../outside"),
        ],
        None,
    );
    let folder = checked_out(&place, &repository, &head).await;
    let written = all(&folder);
    let written: Vec<_> = written.iter().filter_map(|path| path.to_str()).collect();
    assert_eq!(written, ["deep/inside", "good", "inside"]);
    assert!(!place.folder().join("escaped").exists());
}

#[tokio::test]
async fn nothing_is_written_through_a_link_of_the_same_name() {
    let place = Place::new();
    let repository = place.repository("twice");
    let blob = |text: &[u8]| {
        sources::id(sources::git_with(
            &repository,
            &["hash-object", "-w", "--stdin"],
            text,
        ))
    };
    let (here, through) = (blob(b"."), blob(b"../outside"));
    let below = sources::tree(
        &repository,
        &[(b"x", "120000", b"../outside"), (b"y", "100644", b"y")],
    );
    let mut raw = Vec::new();
    for (mode, name, object) in [
        ("120000", "l", &here),
        ("40000", "l", &below),
        ("100644", "same", &here),
        ("120000", "same", &through),
    ] {
        raw.extend_from_slice(format!("{mode} {name}\0").as_bytes());
        let bytes: Vec<u8> = (0..20)
            .map(|at| u8::from_str_radix(&object[2 * at..2 * at + 2], 16).unwrap())
            .collect();
        raw.extend(bytes);
    }
    let tree = sources::id(sources::git_with(
        &repository,
        &["hash-object", "-t", "tree", "-w", "--stdin", "--literally"],
        &raw,
    ));
    let head = sources::commit_tree(&repository, &tree, None);
    let folder = checked_out(&place, &repository, &head).await;
    for path in all(&folder) {
        let real = std::fs::canonicalize(folder.join(&path));
        if let Ok(real) = real {
            assert!(
                real.starts_with(std::fs::canonicalize(&folder).unwrap()),
                "{path:?}"
            );
        } else {
            let target = std::fs::read_link(folder.join(&path)).unwrap();
            assert!(
                path.components().count() > 1 && target == Path::new("../outside"),
                "{path:?}"
            );
        }
    }
    assert!(folder.join("l/y").is_file());
    assert!(folder.join("same").is_file());
}

#[tokio::test]
async fn a_huge_file_is_left_out_of_a_checkout() {
    let place = Place::new();
    let repository = place.repository("huge");
    let huge = many("0123456789abcde\n", (33 << 20) / 16);
    let head = commit(
        &repository,
        &[(b"huge", "100644", &huge), (b"small", "100644", b"small")],
        None,
    );
    let folder = checked_out(&place, &repository, &head).await;
    assert_eq!(all(&folder), [Path::new("small")]);
}

#[tokio::test]
async fn ten_thousand_files_are_written_quickly() {
    let place = Place::new();
    let repository = place.repository("wide");
    let (_, head) = wide(&repository, 10_000);
    let begun = Instant::now();
    let folder = checked_out(&place, &repository, &head).await;
    assert_eq!(all(&folder).len(), 10_000);
    assert!(
        begun.elapsed() < Duration::from_secs(10),
        "{:?}",
        begun.elapsed()
    );
}

#[tokio::test]
async fn a_folder_that_is_there_already_is_not_written_into() {
    let place = Place::new();
    let repository = place.repository("there");
    let head = commit(&repository, &[(b"a", "100644", b"a")], None);
    let folder = checked_out(&place, &repository, &head).await;
    let source = Place::local(&repository, &head, &head);
    let mirror = place.mirror(&source, &head).await.unwrap();
    let error = place.checkout(&mirror, &head, &folder).await.unwrap_err();
    assert!(matches!(error, WorkspaceError::Io { .. }), "{error:?}");
}

#[tokio::test]
async fn only_whole_commit_ids_are_checked_out() {
    let place = Place::new();
    let repository = place.repository("ids");
    let head = commit(&repository, &[(b"a", "100644", b"a")], None);
    let source = Place::local(&repository, &head, &head);
    let mirror = place.mirror(&source, &head).await.unwrap();
    for (number, odd) in ["HEAD", "--help", "", "abc", &head[..39]]
        .iter()
        .enumerate()
    {
        let folder = place.folder().join(format!("checkout-{number}"));
        let error = place.checkout(&mirror, odd, &folder).await.unwrap_err();
        assert!(
            matches!(error, WorkspaceError::Refused(_)),
            "{odd:?}: {error:?}"
        );
        let error = place.mirror(&source, odd).await.unwrap_err();
        assert!(
            matches!(error, WorkspaceError::Refused(_)),
            "{odd:?}: {error:?}"
        );
    }
    let gone = "1234567890123456789012345678901234567890";
    let error = place.mirror(&source, gone).await.unwrap_err();
    assert!(matches!(error, WorkspaceError::Refused(_)), "{error:?}");
}

#[tokio::test]
async fn a_damaged_mirror_is_made_anew() {
    let place = Place::new();
    let repository = place.folder().join("repos/damage");
    let (base, head) = build_repository(
        &repository,
        &files(&[("a", "1\n"), ("b/c", "1\n")]),
        &files(&[("a", "2\n"), ("b/c", "2\n")]),
    )
    .await
    .unwrap();
    let first = place.resolve(&repository, &base, &head).await.unwrap();
    let mirror = first.mirror.path.clone();
    let damages: [(&str, &dyn Fn()); 5] = [
        ("no HEAD", &|| {
            std::fs::remove_file(mirror.join("HEAD")).unwrap();
        }),
        ("no objects", &|| {
            std::fs::remove_dir_all(mirror.join("objects")).unwrap();
        }),
        ("garbled objects", &|| {
            garble(&mirror.join("objects"), |bytes| bytes.fill(7));
        }),
        ("cut objects", &|| {
            garble(&mirror.join("objects"), |bytes| {
                let half = bytes.len() / 2;
                bytes.truncate(half);
            });
        }),
        ("a file instead", &|| {
            std::fs::remove_dir_all(&mirror).unwrap();
            std::fs::write(&mirror, "no folder").unwrap();
        }),
    ];
    for (name, damage) in damages {
        damage();
        let again = place.resolve(&repository, &base, &head).await;
        let again = again.unwrap_or_else(|error| panic!("{name}: {error:?}"));
        assert_eq!(again.pull_request, first.pull_request, "{name}");
    }
}

#[tokio::test]
async fn a_checkout_from_a_damaged_mirror_succeeds_at_its_next_attempt() {
    let place = Place::new();
    let repository = place.folder().join("repos/later");
    let (base, head) = build_repository(
        &repository,
        &files(&[("a", "1\n")]),
        &files(&[("a", "2\n")]),
    )
    .await
    .unwrap();
    let source = Place::local(&repository, &base, &head);
    let mirror = place.mirror(&source, &head).await.unwrap();
    let blob = git(&repository, &["rev-parse", &format!("{head}:a")]);
    garble(&mirror.path.join("objects"), |bytes| bytes.fill(7));
    assert!(!blob.is_empty());
    let folder = place.folder().join("first");
    place.checkout(&mirror, &head, &folder).await.unwrap_err();
    let mirror = place.mirror(&source, &head).await.unwrap();
    let folder = place.folder().join("second");
    place.checkout(&mirror, &head, &folder).await.unwrap();
    assert_eq!(std::fs::read(folder.join("a")).unwrap(), b"2\n");
}

#[tokio::test]
async fn a_repository_over_the_limit_is_refused_and_not_kept() {
    let mut place = Place::new();
    let repository = place.repository("large");
    let noise: Vec<u8> = (0..200_000_u32)
        .flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes())
        .collect();
    let head = commit(&repository, &[(b"noise", "100644", &noise)], None);
    place.settings.forge.max_bytes = 100_000;
    let error = place.resolve(&repository, &head, &head).await.unwrap_err();
    assert!(error.to_string().contains("GIT_MAX_BYTES"), "{error}");
    let kept: u64 = all(&place.folder().join("work"))
        .iter()
        .map(|path| {
            place
                .folder()
                .join("work")
                .join(path)
                .metadata()
                .unwrap()
                .len()
        })
        .sum();
    assert!(kept < 1_000, "{kept} bytes");
}

/// Changes every object file of a repository.
fn garble(objects: &Path, change: impl Fn(&mut Vec<u8>)) {
    let mut found = 0;
    for path in all(objects) {
        let path = objects.join(path);
        let mut bytes = std::fs::read(&path).unwrap();
        change(&mut bytes);
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, bytes).unwrap();
        found += 1;
    }
    assert!(found > 0, "a mirror has objects");
}

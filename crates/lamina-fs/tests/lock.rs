//! Locks: exclusion, a bounded wait that names the holder, unlinked files, the order.
#![expect(clippy::unwrap_used, reason = "a failed helper fails its test")]

use std::fs;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use lamina_fs::{Dir, Lock, LockError, Rank};
use lamina_types::ErrorKind;

fn scratch() -> (tempfile::TempDir, Dir) {
    let temp = tempfile::tempdir().unwrap();
    let dir = Dir::open(temp.path()).unwrap();
    (temp, dir)
}

#[test]
fn one_holder_at_a_time_even_while_the_file_is_unlinked() {
    let (temp, dir) = scratch();
    let (inside, entered) = (AtomicU32::new(0), AtomicU32::new(0));
    thread::scope(|scope| {
        for n in 0..4 {
            let (dir, inside, entered, temp) = (&dir, &inside, &entered, &temp);
            scope.spawn(move || {
                for round in 0..50 {
                    let lock = Lock::exclusive(dir, "lock", Rank::Store).unwrap();
                    assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                    entered.fetch_add(1, Ordering::SeqCst);
                    inside.fetch_sub(1, Ordering::SeqCst);
                    // Whoever waits on the old file must notice that it is no longer the one.
                    let unlink = (round + n) % 5 == 0;
                    let _ = unlink.then(|| fs::remove_file(temp.path().join("lock")));
                    drop(lock);
                }
            });
        }
    });
    assert_eq!(entered.load(Ordering::SeqCst), 200);
}

#[test]
fn a_wait_ends_and_names_the_holder() {
    let (_temp, dir) = scratch();
    let _held = Lock::exclusive(&dir, "l", Rank::Blob).unwrap();
    let dir = &dir;
    thread::scope(|scope| {
        scope.spawn(move || {
            let start = Instant::now();
            let patience = Duration::from_millis(80);
            let error = Lock::exclusive_within(dir, "l", Rank::Blob, patience).unwrap_err();
            assert!(start.elapsed() < Duration::from_secs(5));
            assert_eq!(error.kind(), ErrorKind::Timeout);
            let LockError::Held { holder, .. } = &error else {
                panic!("{error:?}")
            };
            assert_eq!(*holder, format!("process {}", std::process::id()));
            assert!(error.to_string().contains("/l"), "{error}");
            assert!(Lock::try_exclusive(dir, "l", Rank::Blob).unwrap().is_none());
        });
    });
}

#[test]
fn shared_locks_share_and_exclude_the_exclusive() {
    let (_temp, dir) = scratch();
    let one = Lock::shared(&dir, "l", Rank::Store).unwrap();
    let dir = &dir;
    thread::scope(|scope| {
        scope.spawn(move || {
            let two = Lock::shared(dir, "l", Rank::Store).unwrap();
            assert!(
                Lock::try_exclusive(dir, "l", Rank::Store)
                    .unwrap()
                    .is_none()
            );
            drop(two);
        });
    });
    drop(one);
    assert!(
        Lock::try_exclusive(dir, "l", Rank::Store)
            .unwrap()
            .is_some()
    );
}

#[test]
fn the_order_may_only_rise() {
    let (_temp, dir) = scratch();
    let container = Lock::exclusive(&dir, "c1", Rank::Container).unwrap();
    let second = Lock::exclusive(&dir, "c2", Rank::Container).unwrap();
    let store = Lock::shared(&dir, "store", Rank::Store).unwrap();
    drop((container, second, store));
    let again = Lock::exclusive(&dir, "c1", Rank::Container).unwrap();
    drop(again);
}

#[test]
#[cfg(debug_assertions)]
#[should_panic(expected = "lock order")]
fn waiting_down_the_order_is_a_bug() {
    let (_temp, dir) = scratch();
    let _store = Lock::exclusive(&dir, "store", Rank::Store).unwrap();
    let _ = Lock::exclusive(&dir, "c", Rank::Container);
}

#[test]
#[cfg(debug_assertions)]
#[should_panic(expected = "lock order")]
fn waiting_for_an_earlier_name_of_the_same_rank_is_a_bug() {
    let (_temp, dir) = scratch();
    let _two = Lock::exclusive(&dir, "c2", Rank::Container).unwrap();
    let _ = Lock::exclusive(&dir, "c1", Rank::Container);
}

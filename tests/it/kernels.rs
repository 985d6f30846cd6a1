//! Older kernels, simulated by refusing the calls that they lack.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use seccompiler::{
    SeccompCmpArgLen as Width, SeccompCmpOp as Is, SeccompCondition as Condition,
    SeccompRule as Rule,
};

use super::harness::{Server, Site, refusing, wait_until};

/// System calls by version: `cachestat` 6.5, PAGEMAP_SCAN 6.7, MADV_POPULATE_READ 5.14.
const CACHESTAT: i64 = 451;
const PAGEMAP_SCAN: u64 = 0xc060_6610;

fn argument(place: u8, value: u64) -> Vec<Rule> {
    let is_it = Condition::new(place, Width::Dword, Is::Eq, value).unwrap();
    vec![Rule::new(vec![is_it]).unwrap()]
}

/// A server limited to the calls of Linux 5.8, or 6.1.
fn serve(site: &Site, version: &str) -> Server {
    let populate = u64::from(libc::MADV_POPULATE_READ.unsigned_abs());
    let mut lacking = vec![
        (CACHESTAT, vec![]),
        (libc::SYS_ioctl, argument(1, PAGEMAP_SCAN)),
    ];
    if version == "5.8" {
        lacking.push((libc::SYS_io_uring_setup, vec![]));
        lacking.push((libc::SYS_madvise, argument(2, populate)));
    }
    refusing(&lacking, libc::EINVAL, || {
        Server::start(site, &["--revalidate", "1h"])
    })
}

fn jobs(server: &Server) -> u64 {
    let numbers = server.numbers();
    let buckets = numbers["disk"]["job_us"].as_array().unwrap();
    buckets
        .iter()
        .map(|bucket| bucket["count"].as_u64().unwrap())
        .sum()
}

#[test]
fn an_older_kernel_serves_the_same_and_rested_files_without_the_disk() {
    for version in ["5.8", "6.1"] {
        let site = Site::new();
        let long = vec![b'l'; 3 << 20];
        site.file("copied", "one")
            .file("mapped", vec![b'm'; 9_000])
            .file("long", &long);
        let mut server = serve(&site, version);
        let mut client = server.connect();
        for (path, length) in [("/copied", 3), ("/mapped", 9_000), ("/long", 3 << 20)] {
            for _ in 0..3 {
                let response = client.get(path, &[]);
                assert_eq!(
                    (response.status, response.body.len()),
                    (200, length),
                    "{version}{path}"
                );
            }
        }
        assert_eq!(
            client.get("/long", &["Range: bytes=1048570-1048579"]).body,
            b"llllllllll"
        );
        wait_until("both short files are in memory", || {
            let numbers = server.numbers();
            let maps = &numbers["caches"].as_array().unwrap()[1];
            maps["entries"] == 2
        });
        assert_eq!(client.get("/mapped", &[]).status, 200);
        let (before, since) = (jobs(&server), Instant::now());
        wait_until("a mapping has to be asked about", || {
            since.elapsed() > Duration::from_millis(5_100)
        });
        for path in ["/copied", "/mapped"] {
            assert_eq!(client.get(path, &[]).status, 200);
        }
        assert_eq!(jobs(&server), before, "{version}: nothing is read anew");
        assert_eq!(server.numbers()["disk"]["mappings_gone"], 0, "{version}");
        site.file("copied", "two").file("new", "there");
        assert_eq!(client.get("/copied", &[]).body, b"two", "{version}");
        assert_eq!(client.get("/new", &[]).body, b"there", "{version}");
        server.signal(Signal::TERM);
        assert_eq!(server.wait(), Some(0), "{version}");
    }
}

/// The second request for a short file comes before it is mapped, or long after its pages were read: it does
/// not wait for the disk if the kernel cannot report residency.
#[test]
fn the_second_request_for_a_short_file_does_not_wait_where_the_kernel_does_not_say() {
    let site = Site::new();
    site.file("a", vec![b'a'; 9_000]);
    let server = serve(&site, "6.1");
    assert_eq!(server.get("/a").status, 200);
    wait_until("it is mapped", || {
        server.numbers()["caches"].as_array().unwrap()[1]["entries"] == 1
    });
    let before = jobs(&server);
    let since = Instant::now();
    wait_until("its window is trusted no more", || {
        since.elapsed() > Duration::from_millis(30)
    });
    assert_eq!(server.get("/a").status, 200);
    assert_eq!(jobs(&server), before);
}

//! What it costs to know who calls: processor time of the API for a token and for a sign-in, seen from outside.
//!
//! The kernel says how much processor time the API's process has used. A request that needs a token costs more than one that does not; the
//! difference is the check of the token, with the answer's few more fields counted along, so it is rather too high. A sign-in is
//! compared with argon2id alone, by the parameters of the program, measured here.

use crate::{
    http::{Client, request},
    servers::Servers,
    stats::{Distribution, Samples},
};
use anyhow::{Context as _, Result, bail};
use argon2::{Algorithm, Argon2, Params, Version};
use serde::Serialize;
use std::time::{Duration, Instant};

/// Requests of a kind in a row: as many as make the kernel's ticks of 10 ms small beside them.
const REQUESTS: u32 = 10_000;
/// Each kind in turns, so that what else the machine does falls on both.
const ROUNDS: usize = 5;
/// Sign-ins, one after the other.
const SIGN_INS: u32 = 30;
/// Sign-ins at the same time.
const CROWD: usize = 100;
/// The program's parameters (OWASP): memory in KiB, passes.
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;

/// What was seen.
#[derive(Debug, Serialize)]
pub(crate) struct Identity {
    /// Processor time of the API for a request without a token, microseconds: the median of the rounds.
    pub(crate) plain_us: f64,
    /// For one with a token.
    pub(crate) with_token_us: f64,
    /// The difference: the median of the rounds' own differences.
    pub(crate) token_check_us: f64,
    /// One argon2id by itself.
    pub(crate) argon2: Distribution,
    /// A whole sign-in, one at a time.
    pub(crate) sign_in: Distribution,
    /// Processor time of the API for a sign-in, milliseconds.
    pub(crate) sign_in_cpu_ms: f64,
    /// Sign-ins with a wrong password for a known and an unknown address.
    pub(crate) wrong_password: Distribution,
    pub(crate) unknown_user: Distribution,
    /// A hundred at once.
    pub(crate) crowd: Distribution,
    /// Sign-ins per second of the crowd over what argon2 alone allows on all processors.
    pub(crate) crowd_to_argon2: f64,
}

/// Processor time that a process has used, in user and in kernel (proc(5), fields 14 and 15 of `stat`, in ticks).
fn cpu_time(pid: u32) -> Result<Duration> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).context("the API is gone")?;
    // The second field, the name, may contain spaces; the third begins behind its parenthesis.
    let (_, rest) = text.rsplit_once(") ").context("an unexpected line")?;
    let fields: Vec<&str> = rest.split(' ').collect();
    let ticks: u64 = fields[11].parse::<u64>()? + fields[12].parse::<u64>()?;
    Ok(Duration::from_millis(ticks * 10))
}

/// Processor time per request, microseconds.
async fn cost(client: &mut Client, pid: u32, request: &[u8]) -> Result<f64> {
    let before = cpu_time(pid)?;
    for _ in 0..REQUESTS {
        let reply = client.send(request).await?;
        if reply.status != 200 {
            bail!("status {}: {}", reply.status, reply.text());
        }
    }
    Ok((cpu_time(pid)? - before).as_secs_f64() * 1e6 / f64::from(REQUESTS))
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn sign_in(address: &str, password: &str) -> Vec<u8> {
    let form = format!("username={address}&password={password}");
    request("POST", "/auth/login", None, Some(("application/x-www-form-urlencoded", &form)))
}

async fn timed(client: &mut Client, request: &[u8], count: u32, expected: u16) -> Result<Samples> {
    let mut samples = Samples::default();
    for _ in 0..count {
        let begin = Instant::now();
        let reply = client.send(request).await?;
        if reply.status != expected {
            bail!("status {}: {}", reply.status, reply.text());
        }
        samples.push(begin.elapsed());
    }
    Ok(samples)
}

fn argon2_alone() -> Result<Samples> {
    let params = Params::new(MEMORY_KIB, PASSES, 1, None).map_err(|error| anyhow::anyhow!("{error}"))?;
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let mut samples = Samples::default();
    for _ in 0..SIGN_INS {
        let mut output = [0; 32];
        let begin = Instant::now();
        argon2
            .hash_password_into(b"admin", b"0123456789abcdef", &mut output)
            .map_err(|error| anyhow::anyhow!("{error}"))?;
        samples.push(begin.elapsed());
    }
    Ok(samples)
}

/// How many argon2id a second this machine makes on all its processors: less than one alone times their number, because they share the
/// way to memory.
fn argon2_rate(processors: usize) -> Result<f64> {
    let begin = Instant::now();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..processors).map(|_| scope.spawn(argon2_alone)).collect();
        threads.into_iter().try_for_each(|thread| match thread.join() {
            Ok(samples) => samples.map(drop),
            Err(_) => bail!("a thread has panicked"),
        })
    })?;
    Ok((processors as f64) * f64::from(SIGN_INS) / begin.elapsed().as_secs_f64())
}

/// Measures on programs that do nothing else.
pub(crate) async fn measure(servers: &Servers) -> Result<Identity> {
    let pids = servers.pids();
    let api = pids.iter().find(|(role, _)| role == "api" || role == "bifrost");
    let pid = api.context("no API runs")?.1;
    let mut client = Client::connect(servers.address).await?;
    let plain = request("GET", "/health/live", None, None);
    let with_token = request("GET", "/auth/me", Some(&servers.token), None);
    cost(&mut client, pid, &plain).await?;
    cost(&mut client, pid, &with_token).await?;
    let (mut plains, mut with_tokens) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        plains.push(cost(&mut client, pid, &plain).await?);
        with_tokens.push(cost(&mut client, pid, &with_token).await?);
    }
    let token_check_us = median(plains.iter().zip(&with_tokens).map(|(a, b)| b - a).collect());

    let argon2 = argon2_alone()?.distribution();
    let good = sign_in("admin%40localhost", "admin");
    timed(&mut client, &good, 3, 200).await?;
    let before = cpu_time(pid)?;
    let signed_in = timed(&mut client, &good, SIGN_INS, 200).await?.distribution();
    let sign_in_cpu_ms = (cpu_time(pid)? - before).as_secs_f64() * 1e3 / f64::from(SIGN_INS);
    // Fewer than an address may fail with before it has to wait.
    let wrong = timed(&mut client, &sign_in("admin%40localhost", "wrong"), 8, 401).await?.distribution();
    let unknown = timed(&mut client, &sign_in("nobody%40localhost", "wrong"), 8, 401).await?.distribution();

    let begin = Instant::now();
    let crowd = crowd(servers, &good).await?;
    let per_second = CROWD as f64 / begin.elapsed().as_secs_f64();
    let possible = argon2_rate(std::thread::available_parallelism().map_or(1, usize::from))?;
    Ok(Identity {
        plain_us: median(plains),
        with_token_us: median(with_tokens),
        token_check_us,
        argon2,
        sign_in: signed_in,
        sign_in_cpu_ms,
        wrong_password: wrong,
        unknown_user: unknown,
        crowd,
        crowd_to_argon2: per_second / possible,
    })
}

/// A hundred people sign in at the same moment.
async fn crowd(servers: &Servers, good: &[u8]) -> Result<Distribution> {
    let mut people = tokio::task::JoinSet::new();
    for _ in 0..CROWD {
        let (address, good) = (servers.address, good.to_vec());
        people.spawn(async move { timed(&mut Client::connect(address).await?, &good, 1, 200).await });
    }
    let mut samples = Samples::default();
    while let Some(one) = people.join_next().await {
        samples.extend(one??);
    }
    Ok(samples.distribution())
}

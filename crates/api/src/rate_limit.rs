//! How often something may be tried: a bucket per address, account, person or application, behind the port
//! ([`Limiter`](bifrost_domain::ports::limits::Limiter)).
//!
//! How to add one: a name in [`Limit`](crate::metrics::Limit), a field in `state::Limits` with its allowance, `ApiState::count` at the top
//! of the handler: it also tells the audit log who was over it. What counts failures alone is checked before the work, too, and given back
//! after a success: many tries at once are as few as one after the other.

use crate::{
    metrics::{self, Limit},
    state::ApiState,
};
use bifrost_app::auth::{Client, Known};
use bifrost_domain::{
    error::{Error, Kind, Result},
    ids::{ApplicationId, UserId},
    ports::limits::{Allowance, Limiter, Verdict},
    user::User,
};
use std::{
    net::{IpAddr, Ipv6Addr},
    num::NonZeroU32,
    sync::Arc,
    time::Duration,
};

/// What most allowances are for.
pub(crate) const MINUTE: Duration = Duration::from_secs(60);

/// A limit; without an allowance there is none, but where each has one of its own.
pub(crate) struct RateLimit {
    limit: Limit,
    limiter: Arc<dyn Limiter>,
    allowance: Option<Allowance>,
}

impl std::fmt::Debug for RateLimit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RateLimit")
            .field("limit", &self.limit)
            .field("allowance", &self.allowance)
            .finish_non_exhaustive()
    }
}

impl RateLimit {
    /// `most` within a time; `None`: no limit.
    pub(crate) fn new(
        limit: Limit,
        limiter: &Arc<dyn Limiter>,
        most: Option<NonZeroU32>,
        within: Duration,
    ) -> Self {
        let allowance = most.map(|most| Allowance { most, within });
        Self { limit, limiter: Arc::clone(limiter), allowance }
    }

    /// Counts a try from an address.
    async fn check(&self, ip: Option<IpAddr>) -> Result<()> {
        let ip = ip.map_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED), network);
        self.take(&self.key(&ip.to_string()), self.allowance).await
    }

    /// Counts a try on an account, whether it exists or not.
    async fn check_account(&self, account: &str) -> Result<()> {
        self.take(&self.key(&canonical(account)), self.allowance).await
    }

    /// Counts a try of somebody signed in.
    pub(crate) async fn check_person(&self, user: UserId) -> Result<()> {
        self.take(&self.key(&user.to_string()), self.allowance).await
    }

    /// Counts a request of an application: each has an allowance of its own, and a changed one counts at once.
    pub(crate) async fn check_application(
        &self,
        application: ApplicationId,
        per_minute: NonZeroU32,
    ) -> Result<()> {
        let allowance = Allowance { most: per_minute, within: MINUTE };
        self.take(&self.key(&application.to_string()), Some(allowance)).await
    }

    /// The try on the account does not count.
    pub(crate) async fn forgive_account(&self, account: &str) {
        if let Some(allowance) = self.allowance {
            self.limiter.give_back(&self.key(&canonical(account)), allowance).await;
        }
    }

    fn key(&self, who: &str) -> String {
        format!("{}:{who}", self.limit.as_str())
    }

    async fn take(&self, key: &str, allowance: Option<Allowance>) -> Result<()> {
        let Some(allowance) = allowance else { return Ok(()) };
        let Verdict::RetryAfter(wait) = self.limiter.take(key, allowance).await else { return Ok(()) };
        metrics::limited(self.limit);
        let retry_after_seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        Err(Error::new(
            Kind::TooMany { retry_after_seconds },
            format!("too many requests; try again in {retry_after_seconds} s"),
        ))
    }
}

impl ApiState {
    /// Counts a try from the client's address.
    pub(crate) async fn count(&self, limit: &RateLimit, client: &Client) -> Result<()> {
        self.count_for(limit, Known::default(), client).await
    }

    /// Counts a sign-in, from the client's address and on the account that was typed, whether it exists or not.
    pub(crate) async fn count_sign_in(&self, account: &str, client: &Client) -> Result<()> {
        let typed = Known { email: Some(canonical(account)), ..Known::default() };
        self.count_for(&self.limits.login, typed.clone(), client).await?;
        self.count_account(account, typed, client).await
    }

    /// Tries something on the own account; only a try that `is_failure` says failed counts. It is counted before, so that many tries at
    /// once are as few as one after the other.
    pub(crate) async fn failing<T>(
        &self,
        user: &User,
        client: &Client,
        attempt: impl Future<Output = Result<T>>,
        is_failure: impl FnOnce(&Error) -> bool,
    ) -> Result<T> {
        self.count_account(&user.email, user.into(), client).await?;
        let outcome = attempt.await;
        if !outcome.as_ref().is_err_and(is_failure) {
            self.limits.account.forgive_account(&user.email).await;
        }
        outcome
    }

    async fn count_account(&self, account: &str, known: Known, client: &Client) -> Result<()> {
        let limit = &self.limits.account;
        limit.check_account(account).await.inspect_err(|_| {
            let who: String = canonical(account).chars().take(254).collect();
            self.auth.note_limited(limit.limit.as_str(), &who, known, client);
        })
    }

    async fn count_for(&self, limit: &RateLimit, known: Known, client: &Client) -> Result<()> {
        limit.check(client.ip).await.inspect_err(|_| {
            let from = client.ip.map(network).map(|ip| ip.to_string()).unwrap_or_default();
            self.auth.note_limited(limit.limit.as_str(), &from, known, client);
        })
    }
}

/// The same account however it is typed.
fn canonical(account: &str) -> String {
    account.trim().to_lowercase()
}

/// One customer has a whole /64 of IPv6.
fn network(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() & !u128::from(u64::MAX))),
        ip @ IpAddr::V4(_) => ip,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bifrost_adapters::limits::InProcess;
    use bifrost_domain::clock::{Ids, SystemIds};

    fn ip(text: &str) -> Option<IpAddr> {
        Some(text.parse().expect("an address"))
    }

    fn limit(most: u32) -> RateLimit {
        let limiter: Arc<dyn Limiter> = Arc::new(InProcess::new());
        RateLimit::new(Limit::Login, &limiter, NonZeroU32::new(most), Duration::from_secs(60))
    }

    #[tokio::test]
    async fn the_limit_is_per_address_and_says_when_to_come_back() {
        let limit = limit(3);
        for _ in 0..3 {
            limit.check(ip("192.0.2.1")).await.expect("within the limit");
        }
        let error = limit.check(ip("192.0.2.1")).await.expect_err("the fourth");
        assert_eq!(error.kind, Kind::TooMany { retry_after_seconds: 20 });
        limit.check(ip("192.0.2.2")).await.expect("another address");
    }

    #[tokio::test]
    async fn one_network_is_one_address() {
        let limit = limit(1);
        limit.check(ip("2001:db8::1")).await.expect("the first");
        limit.check(ip("2001:db8::2")).await.expect_err("the same network");
        limit.check(ip("2001:db8:0:1::1")).await.expect("the next network");
        limit.check(ip("::ffff:192.0.2.1")).await.expect("an address of IPv4");
        limit.check(ip("192.0.2.1")).await.expect_err("the same");
    }

    #[tokio::test]
    async fn each_application_has_its_own_limit() {
        let application = || ApplicationId::from_uuid(SystemIds.next());
        let (one, other) = (application(), application());
        let limiter: Arc<dyn Limiter> = Arc::new(InProcess::new());
        let limit = RateLimit::new(Limit::Application, &limiter, None, MINUTE);
        let most = |most| NonZeroU32::new(most).expect("not zero");
        for _ in 0..3 {
            limit.check_application(one, most(3)).await.expect("within the limit");
        }
        let error = limit.check_application(one, most(3)).await.expect_err("the fourth");
        assert_eq!(error.kind, Kind::TooMany { retry_after_seconds: 20 });
        limit.check_application(other, most(1)).await.expect("another one");
        limit.check_application(other, most(1)).await.expect_err("has less");
    }

    #[tokio::test]
    async fn an_account_is_one_however_it_is_typed_and_successes_do_not_count() {
        let limit = limit(1);
        for _ in 0..3 {
            limit.check_account("Ann@Acme.example").await.expect("allowed");
            limit.forgive_account("ann@acme.example").await;
        }
        limit.check_account("ann@acme.example").await.expect("allowed");
        limit.check_account(" ANN@acme.example").await.expect_err("the same");
        limit.check_account("bob@acme.example").await.expect("another");
    }
}

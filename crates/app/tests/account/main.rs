//! The own account over a real store: second factor, sessions, passwords. Whatever races is tried by many callers at once.

#![expect(clippy::expect_used, clippy::panic, reason = "a case that cannot go on has failed")]

mod factor;
mod password;
mod races;
mod required;
mod sessions;
mod written_down;

use bifrost_app::{
    auth::{
        Auth, AuthSettings, Client, DevUser, DevicePoll, Environment, SignIn, TokenPair,
        mfa::{Mfa, Subject},
    },
    cipher::Cipher,
};
use bifrost_domain::{
    clock::{Clock, SystemIds},
    error::{Error, Kind},
    policy::{
        Caller, Permit,
        actions::{ShowFactor, UseAccount},
        authorize,
    },
    user::SessionState,
};
use bifrost_test_support::{MovableClock, TestDatabase, one_time_code};
use secrecy::{ExposeSecret, SecretBox, SecretString};
use std::sync::Arc;

pub(crate) struct World {
    pub(crate) auth: Arc<Auth>,
    pub(crate) mfa: Mfa,
    pub(crate) clock: Arc<MovableClock>,
}

pub(crate) fn settings() -> AuthSettings {
    AuthSettings {
        dev_user: Some(DevUser { email: "admin@localhost".into(), password: "admin".into() }),
        argon2_memory_kib: 8 * 1024,
        argon2_passes: 1,
        ..AuthSettings::new("q8Zr2LwXc7VbN1mK5tYhG3fD9sJ4pA6e".into(), Environment::Testing)
    }
}

impl World {
    pub(crate) async fn new(db: &TestDatabase, settings: AuthSettings) -> Arc<Self> {
        let world = Self::replica(db, settings, Arc::default());
        world.auth.ensure_dev_user().await.expect("the development user");
        world
    }

    /// Another process over the same store.
    pub(crate) fn replica(db: &TestDatabase, settings: AuthSettings, clock: Arc<MovableClock>) -> Arc<Self> {
        let auth = Arc::new(Auth::new(db.store(), clock.clone(), Arc::new(SystemIds), settings));
        let cipher = Arc::new(Cipher::new(&SecretBox::new(Box::new([7; 32]))));
        Arc::new(Self { mfa: Mfa::new(auth.clone(), cipher), auth, clock })
    }

    pub(crate) async fn sign_in(&self, device: Option<&str>) -> SignIn {
        let client = Client::default();
        self.auth.login("admin@localhost", "admin".into(), device, &client).await.expect("the right password")
    }

    pub(crate) async fn session(&self) -> TokenPair {
        match self.sign_in(None).await {
            SignIn::Session(pair) => pair,
            SignIn::SecondFactor(challenge) => panic!("{challenge:?}"),
        }
    }

    pub(crate) async fn challenge(&self) -> SecretString {
        match self.sign_in(None).await {
            SignIn::SecondFactor(challenge) => challenge.token,
            SignIn::Session(pair) => panic!("{pair:?}"),
        }
    }

    pub(crate) async fn state(&self, pair: &TokenPair) -> Result<SessionState, Error> {
        self.auth.authenticate_bearer(pair.access_token.expose_secret()).await
    }

    pub(crate) async fn holds(&self, pair: &TokenPair) -> bool {
        match self.state(pair).await {
            Ok(_) => true,
            Err(error) if error.kind == Kind::Unauthenticated => false,
            Err(error) => panic!("{error:?}"),
        }
    }

    /// Enrols the development user: the secret, and the recovery codes.
    pub(crate) async fn enrol(&self) -> (String, Vec<String>) {
        let client = Client::default();
        let state = self.state(&self.session().await).await.expect("signed in");
        let (subject, secret) = self.set_up(&state).await.expect("set up");
        let enrolled = self.mfa.confirm(subject, &self.code(&secret), &client).await.expect("enrolled");
        (secret, enrolled.recovery_codes)
    }

    /// The session of a program that somebody lets in.
    pub(crate) async fn device(&self, by: &SessionState) -> Result<TokenPair, Error> {
        let client = Client::default();
        let asked = self.auth.request_device(None, &client).await?;
        self.auth.decide_device(&permit(by), &by.user, &asked.user_code, true, &client).await?;
        match self.auth.poll_device(asked.device_code.expose_secret(), &client).await? {
            DevicePoll::SignedIn(pair) => Ok(pair),
            other => panic!("{other:?}"),
        }
    }

    /// A factor that is to be confirmed, for a session that began just now: by whom, and its secret.
    pub(crate) async fn set_up(&self, state: &SessionState) -> Result<(Subject, String), Error> {
        let client = Client::default();
        let subject = self.mfa.signed_in(state.user.clone(), Some(state.session_id)).await?;
        let fresh = self.mfa.freshen_to_enrol(&way(state), state, None, &client).await?;
        let secret = self.mfa.set_up(&subject, Some(&fresh), &client).await?.secret;
        Ok((subject, secret.expose_secret().to_owned()))
    }

    pub(crate) fn code(&self, secret: &str) -> String {
        one_time_code(secret, self.clock.now())
    }

    /// A code that is wrong now.
    pub(crate) fn wrong(&self, secret: &str) -> String {
        let near: Vec<String> = (-1..=1)
            .map(|step| one_time_code(secret, self.clock.now() + chrono::Duration::seconds(30 * step)))
            .collect();
        let wrong = (0..9).map(|digit| digit.to_string().repeat(6)).find(|code| !near.contains(code));
        wrong.expect("one of nine")
    }
}

pub(crate) fn permit(state: &SessionState) -> Permit<UseAccount> {
    authorize(&Caller::of_session(state, None).expect("a caller")).expect("everybody may")
}

/// What who owes a factor may still do.
pub(crate) fn way(state: &SessionState) -> Permit<ShowFactor> {
    authorize(&Caller::of_session(state, None).expect("a caller")).expect("everybody may")
}

pub(crate) fn code_of(error: &Error) -> &'static str {
    error.code.unwrap_or_default()
}

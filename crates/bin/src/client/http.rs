//! Requests: sent with the token that is there, once more with a fresh one when it has expired, and every answer that is none turned
//! into a sentence.

use super::{
    Failure, Saved, Server, ServerArguments, Session, Store, server::DEFAULT, shapes::Problem, trouble,
};
use reqwest::{
    Method, Response, StatusCode,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, LOCATION},
};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::{sync::Mutex, time::Duration};

/// How long a connection may take.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);
/// How long a server may say nothing: streams carry a comment every 15 s.
const SILENT_FOR: Duration = Duration::from_secs(60);
/// Longest answer, bytes: a result has 60 MiB at most, and JSON in JSON needs no more.
const LONGEST: usize = 256 * 1024 * 1024;

/// What speaks for whoever runs the command.
#[derive(Clone)]
pub(super) enum Token {
    /// Nothing: a development server lets its own machine in.
    None,
    /// `BIFROST_TOKEN`.
    Given(SecretString),
    /// A session that `bifrost login` began.
    Session(Box<Session>),
}

/// A request that can be sent again.
#[derive(Debug, Clone)]
pub struct Request {
    method: Method,
    url: url::Url,
    headers: HeaderMap,
    body: Option<Vec<u8>>,
}

impl Request {
    /// Adds a parameter of the query.
    #[must_use]
    pub fn query(mut self, name: &str, value: &str) -> Self {
        self.url.query_pairs_mut().append_pair(name, value);
        self
    }

    /// Adds a header (values are ours: letters and digits).
    #[must_use]
    pub fn header(mut self, name: &'static str, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.insert(HeaderName::from_static(name), value);
        }
        self
    }

    fn body(mut self, media_type: &'static str, body: Vec<u8>) -> Self {
        self.headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
        self.body = Some(body);
        self
    }

    /// With a JSON body.
    ///
    /// # Errors
    /// Never in practice: our bodies are values.
    pub fn json(self, body: &impl Serialize) -> Result<Self, Failure> {
        let body = serde_json::to_vec(body).map_err(|error| Failure::here(error.to_string()))?;
        Ok(self.body("application/json", body))
    }

    /// With a form.
    #[must_use]
    pub fn form(self, fields: &[(&str, &str)]) -> Self {
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        self.body("application/x-www-form-urlencoded", body.into_bytes())
    }
}

/// A good answer.
#[derive(Debug)]
pub struct Answer {
    /// Its headers.
    pub headers: HeaderMap,
    body: Vec<u8>,
    place: String,
}

impl Answer {
    /// The body as `T`.
    ///
    /// # Errors
    /// When it is something else: the server is none of ours, or of another version.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        serde_json::from_slice(&self.body).map_err(|error| {
            Failure::unreachable(format!(
                "{} answers, but not as this version of Bifrost does ({error}): is it the right address?",
                self.place
            ))
        })
    }
}

/// A server, asked as somebody.
pub struct Client {
    http: reqwest::Client,
    server: Server,
    organization: Option<HeaderValue>,
    token: Mutex<Token>,
    store: Option<Store>,
    /// The server was named on the command line alone.
    is_named: bool,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("server", &self.server).finish_non_exhaustive()
    }
}

impl Client {
    /// The server that the arguments, `BIFROST_URL` or the last sign-in name, and the token that goes with it.
    ///
    /// # Errors
    /// When the address is none, or the saved sign-ins cannot be read.
    pub fn open(arguments: &ServerArguments) -> Result<Self, Failure> {
        let given = std::env::var_os("BIFROST_TOKEN").filter(|token| !token.is_empty());
        let (server, saved, store) = place(arguments.url.as_deref())?;
        let token = match given {
            Some(token) => {
                let token = token.into_string().map_err(|_| Failure::usage("BIFROST_TOKEN is not UTF-8"))?;
                Token::Given(SecretString::from(token.trim()))
            }
            None => saved
                .session(&server)
                .map_or(Token::None, |session| Token::Session(Box::new(session.clone()))),
        };
        let mut client = Self::new(server, token, arguments.organization.as_deref(), store)?;
        let in_environment = std::env::var_os("BIFROST_URL").is_some_and(|url| !url.is_empty());
        client.is_named = arguments.url.is_some() && !in_environment;
        Ok(client)
    }

    /// The server alone: who asks is still to be found out.
    ///
    /// # Errors
    /// As [`Client::open`].
    pub fn of_nobody(url: Option<&str>) -> Result<Self, Failure> {
        let (server, _, store) = place(url)?;
        Self::new(server, Token::None, None, store)
    }

    fn new(
        server: Server,
        token: Token,
        organization: Option<&str>,
        store: Option<Store>,
    ) -> Result<Self, Failure> {
        let organization = organization.map(HeaderValue::from_str).transpose();
        let organization = organization.map_err(|_| Failure::usage("--organization wants an id"))?;
        // A second choice of the cryptography provider is an error that changes nothing.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder()
            .user_agent(concat!("bifrost/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_WITHIN)
            .read_timeout(SILENT_FOR)
            // A redirected POST would arrive as a GET; and the token is for this server alone.
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|error| {
                Failure::here(format!("no HTTP client can be made: {}", trouble::cause(&error)))
            })?;
        Ok(Self { http, server, organization, token: Mutex::new(token), store, is_named: false })
    }

    /// Which server.
    #[must_use]
    pub const fn server(&self) -> &Server {
        &self.server
    }

    /// A command that goes on with this one: asks the same server.
    #[must_use]
    pub fn command(&self, words: &str) -> String {
        if self.is_named {
            format!("bifrost {words} --url {}", self.server)
        } else {
            format!("bifrost {words}")
        }
    }

    /// Where sign-ins are kept.
    ///
    /// # Errors
    /// When the user has no folder for it.
    pub fn store(&self) -> Result<&Store, Failure> {
        self.store.as_ref().ok_or_else(|| {
            Failure::here("there is no home folder to keep the sign-in in: set HOME or XDG_CONFIG_HOME")
        })
    }

    /// Whether anything speaks for the user.
    #[must_use]
    pub fn has_token(&self) -> bool {
        !matches!(self.token(), Token::None)
    }

    fn token(&self) -> Token {
        self.token.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    /// A request to the path made of `segments`.
    #[must_use]
    pub fn request(&self, method: Method, segments: &[&str]) -> Request {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        Request { method, url: self.server.at(segments), headers, body: None }
    }

    /// Reads from a path.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub async fn get<T: DeserializeOwned>(&self, segments: &[&str]) -> Result<T, Failure> {
        self.send(&self.request(Method::GET, segments)).await?.read()
    }

    /// Sends JSON to a path.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub async fn post<T: DeserializeOwned>(
        &self,
        segments: &[&str],
        body: &impl Serialize,
    ) -> Result<T, Failure> {
        self.send(&self.request(Method::POST, segments).json(body)?).await?.read()
    }

    /// Sends a request and reads the answer.
    ///
    /// # Errors
    /// When there is none, or it says no.
    pub async fn send(&self, request: &Request) -> Result<Answer, Failure> {
        let response = self.begin(request).await?;
        let headers = response.headers().clone();
        let body = self.whole(response).await?;
        Ok(Answer { headers, body, place: self.server.to_string() })
    }

    /// Sends a request as nobody: whatever is answered, its status and its body.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn exchange(&self, request: &Request) -> Result<(StatusCode, Answer), Failure> {
        let response = self.attempt(request, &Token::None).await?;
        let (status, headers) = (response.status(), response.headers().clone());
        let body = self.whole(response).await?;
        Ok((status, Answer { headers, body, place: self.server.to_string() }))
    }

    /// Sends a request; the body of the answer, which is a good one, is still to be read.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub async fn begin(&self, request: &Request) -> Result<Response, Failure> {
        let token = self.token();
        let response = self.attempt(request, &token).await?;
        if response.status() == StatusCode::UNAUTHORIZED
            && let Token::Session(session) = &token
            && let Some(fresh) = self.renew(session).await?
        {
            let response = self.attempt(request, &Token::Session(Box::new(fresh))).await?;
            return self.checked(response).await;
        }
        self.checked(response).await
    }

    async fn attempt(&self, request: &Request, token: &Token) -> Result<Response, Failure> {
        let mut sending =
            self.http.request(request.method.clone(), request.url.clone()).headers(request.headers.clone());
        let bearer = match token {
            Token::None => None,
            Token::Given(token) => Some(token.expose_secret()),
            Token::Session(session) => Some(session.access_token.as_str()),
        };
        if let Some(token) = bearer {
            let mut value = HeaderValue::from_str(&format!("Bearer {token}"))
                .map_err(|_| Failure::usage("BIFROST_TOKEN has letters that no token has"))?;
            value.set_sensitive(true);
            sending = sending.header(AUTHORIZATION, value);
        }
        if let Some(organization) = &self.organization {
            sending = sending.header("x-organization-id", organization);
        }
        if let Some(body) = &request.body {
            sending = sending.body(body.clone());
        }
        sending.send().await.map_err(|error| trouble::unanswered(&self.server, &error))
    }

    /// Exchanges the refresh token for a new pair; takes the pair that another process got meanwhile. `None` when the session is
    /// over.
    async fn renew(&self, used: &Session) -> Result<Option<Session>, Failure> {
        let store = self.store()?;
        let locked = store.lock().await?;
        let mut saved = locked.read()?;
        let Some(known) = saved.session(&self.server) else { return Ok(None) };
        let fresh = if known.access_token == used.access_token {
            let body = Refresh { refresh_token: &known.refresh_token };
            let request = self.request(Method::POST, &["auth", "refresh"]).json(&body)?;
            let response = self.attempt(&request, &Token::None).await?;
            if response.status() == StatusCode::UNAUTHORIZED {
                return Ok(None);
            }
            let response = self.checked(response).await?;
            let answer = Answer {
                headers: HeaderMap::new(),
                body: self.whole(response).await?,
                place: self.server.to_string(),
            };
            let pair: Pair = answer.read()?;
            let fresh = pair.session(known.email.clone());
            saved.servers.insert(self.server.to_string(), fresh.clone());
            locked.write(&saved)?;
            fresh
        } else {
            known.clone()
        };
        self.speak_for(fresh.clone());
        Ok(Some(fresh))
    }

    /// From now on as this session.
    pub fn speak_for(&self, session: Session) {
        *self.token.lock().unwrap_or_else(std::sync::PoisonError::into_inner) =
            Token::Session(Box::new(session));
    }

    async fn whole(&self, mut response: Response) -> Result<Vec<u8>, Failure> {
        let mut body = Vec::new();
        while let Some(part) =
            response.chunk().await.map_err(|error| trouble::unanswered(&self.server, &error))?
        {
            if body.len() + part.len() > LONGEST {
                return Err(Failure::unreachable(format!(
                    "{} answers with more than {} MiB, which Bifrost never does",
                    self.server,
                    LONGEST / (1024 * 1024)
                )));
            }
            body.extend_from_slice(&part);
        }
        Ok(body)
    }

    /// A good answer, or what the server said instead.
    async fn checked(&self, response: Response) -> Result<Response, Failure> {
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        if status.is_redirection() {
            let place =
                response.headers().get(LOCATION).and_then(|value| value.to_str().ok()).unwrap_or("elsewhere");
            return Err(Failure::unreachable(format!(
                "{} sends everybody to {place}: use that address (--url, BIFROST_URL or `bifrost login URL`)",
                self.server
            )));
        }
        let body = self.whole(response).await?;
        let problem: Option<Problem> = serde_json::from_slice(&body).ok();
        Err(trouble::refusal(&self.server, &self.token(), status, problem))
    }
}

/// Which server is meant, what is saved, and where.
fn place(url: Option<&str>) -> Result<(Server, Saved, Option<Store>), Failure> {
    let store = Store::of_user();
    let saved = store.as_ref().map(Store::read).transpose()?.unwrap_or_default();
    let url = url.filter(|url| !url.trim().is_empty()).or(saved.current.as_deref()).unwrap_or(DEFAULT);
    Ok((Server::parse(url)?, saved, store))
}

#[derive(Serialize)]
struct Refresh<'a> {
    refresh_token: &'a str,
}

/// What a sign-in and a refresh answer.
#[derive(Deserialize)]
pub struct Pair {
    access_token: String,
    refresh_token: String,
}

impl Pair {
    /// As a session of this person.
    #[must_use]
    pub fn session(self, email: String) -> Session {
        Session { email, access_token: self.access_token, refresh_token: self.refresh_token }
    }
}

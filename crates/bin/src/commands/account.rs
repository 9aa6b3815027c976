//! `login`, `logout`, `whoami`.

use crate::{
    client::{Client, Exit, Failure, Pair, Saved, Server, ServerArguments, shapes::Me},
    terminal::{self, Paint, secret, text},
};
use reqwest::Method;
use secrecy::ExposeSecret;

/// Arguments of `login`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  bifrost login                                  this machine's server, asks for e-mail and password
  bifrost login https://bifrost.example.org
  bifrost login --device                         a browser, on any machine, says yes
  bifrost login --email ann@acme.example --password-stdin < password.txt")]
pub struct Login {
    #[command(flatten)]
    place: Place,
    /// Who signs in; asked for when it is left out
    #[arg(long, value_name = "E-MAIL")]
    email: Option<String>,
    /// Read the password from the first line of standard input
    #[arg(long)]
    password_stdin: bool,
    /// Print an address and a code, and wait until somebody who is signed in there approves; no password is typed here
    #[arg(long, conflicts_with_all = ["email", "password_stdin"])]
    device: bool,
    /// Send what signs in over http:// to another machine, where everybody on the way can read it
    #[arg(long)]
    insecure_http: bool,
}

/// Arguments of `logout`.
#[derive(Debug, clap::Args)]
pub struct Logout {
    #[command(flatten)]
    place: Place,
}

/// The server whose session it is about; these commands are about nothing else, so that its address may also stand alone.
#[derive(Debug, clap::Args)]
struct Place {
    /// Its address.
    #[arg(
        value_name = "URL",
        help = "Address of the server [default: the one signed in to last, else http://localhost:8000]"
    )]
    address: Option<String>,
    /// The same, as other commands have it
    #[arg(long, value_name = "URL", env = "BIFROST_URL", hide_env_values = true)]
    url: Option<String>,
}

impl Place {
    /// What was typed goes before the environment.
    fn url(self) -> Result<Option<String>, Failure> {
        let is_typed =
            |url: &String| std::env::var_os("BIFROST_URL").is_none_or(|known| known != url.as_str());
        match (self.address, self.url) {
            (Some(address), Some(url)) if address != url && is_typed(&url) => Err(Failure::usage(format!(
                "say one address: `{}` or --url `{}`",
                text::line(&address),
                text::line(&url)
            ))),
            (address, url) => Ok(address.or(url)),
        }
    }
}

/// Arguments of `whoami`.
#[derive(Debug, clap::Args)]
pub struct Whoami {
    #[command(flatten)]
    server: ServerArguments,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Begins a session and keeps it.
///
/// # Errors
/// When the server says no, or it cannot be kept.
pub async fn login(arguments: Login) -> Result<Exit, Failure> {
    let client = Client::of_nobody(arguments.place.url()?.as_deref())?;
    let server = client.server();
    if server.is_open() && !arguments.insecure_http {
        return Err(Failure::usage(format!(
            "{server} is not on this machine and speaks no TLS: what signs you in could be read on the way; use https://, or say --insecure-http"
        )));
    }
    // Before anybody types a password.
    let saved = client.store()?.read()?;
    let (pair, email) = if arguments.device {
        (super::device::sign_in(&client).await?, None)
    } else {
        let before = saved.session(server).map(|session| session.email.as_str());
        let (pair, email) = with_password(&client, before, arguments.email, arguments.password_stdin).await?;
        (pair, Some(email))
    };
    let mut session = pair.session(email.unwrap_or_default());
    client.speak_for(session.clone());
    let me: Me = client.get(&["auth", "me"]).await?;
    if arguments.device {
        session.email.clone_from(&me.email);
        client.speak_for(session.clone());
    }
    let locked = client.store()?.lock().await?;
    let mut saved = locked.read()?;
    saved.current = Some(server.to_string());
    saved.servers.insert(server.to_string(), session);
    locked.write(&saved)?;
    drop(locked);
    terminal::note(&format!("signed in to {server} as {}", description(&me)));
    Ok(Exit::Ok)
}

/// Asks for what was not given, and signs in with it.
async fn with_password(
    client: &Client,
    before: Option<&str>,
    email: Option<String>,
    password_stdin: bool,
) -> Result<(Pair, String), Failure> {
    let server = client.server();
    let email = match email {
        Some(email) => email,
        None if !secret::somebody_is_there() => {
            return Err(Failure::usage(
                "say who signs in with --email, or use --device: there is nobody at a terminal to ask",
            ));
        }
        None => {
            let suggestion = before.or_else(|| server.is_this_machine().then_some("admin@localhost"));
            secret::ask(&format!("E-mail at {server}"), suggestion).await?
        }
    };
    let password = if password_stdin {
        secret::password_of_stdin()?
    } else if secret::somebody_is_there() {
        secret::ask_password("Password").await?
    } else {
        return Err(Failure::usage(
            "hand the password over with --password-stdin, or use --device: there is nobody at a terminal to ask",
        ));
    };
    let form = [("username", email.trim()), ("password", password.expose_secret())];
    let request = client.request(Method::POST, &["auth", "login"]).form(&form);
    let answer = client.send(&request).await.map_err(|failure| match failure.exit {
        Exit::NotAllowed => {
            Failure::new(Exit::NotAllowed, format!("{server} does not accept this e-mail and password"))
        }
        _ => failure,
    })?;
    Ok((answer.read()?, email.trim().to_owned()))
}

/// Ends the session, here and at the server.
///
/// # Errors
/// When it cannot be removed here. A server that is away is no error: the session is forgotten here, and ends there by itself.
pub async fn logout(arguments: Logout) -> Result<Exit, Failure> {
    let client = Client::open(&ServerArguments { url: arguments.place.url()?, organization: None })?;
    let server = client.server().clone();
    if client.store()?.read()?.session(&server).is_none() {
        terminal::note(&format!("nobody is signed in to {server}"));
        return Ok(Exit::Ok);
    }
    let request = client.request(Method::POST, &["auth", "logout"]).json(&serde_json::json!({}))?;
    let ended = client.send(&request).await;
    let locked = client.store()?.lock().await?;
    let mut saved = locked.read()?;
    forget(&mut saved, &server);
    locked.write(&saved)?;
    let told = match ended {
        Err(failure) if failure.exit != Exit::NotAllowed => format!(
            "the session is forgotten here; the server could not be told, and ends it by itself ({})",
            text::line(&failure.to_string())
        ),
        // Told, or it had ended already.
        _ => format!("signed out of {server}"),
    };
    terminal::note(&told);
    Ok(Exit::Ok)
}

fn forget(saved: &mut Saved, server: &Server) {
    saved.servers.remove(&server.to_string());
    if saved.current.as_deref() == Some(&server.to_string()) {
        saved.current = None;
    }
}

/// Shows who is signed in.
///
/// # Errors
/// When nobody is, or the server is away.
pub async fn whoami(arguments: Whoami) -> Result<Exit, Failure> {
    let client = Client::open(&arguments.server)?;
    let answer = client.send(&client.request(Method::GET, &["auth", "me"])).await?;
    if arguments.json {
        let me: Box<serde_json::value::RawValue> = answer.read()?;
        terminal::print(&format!("{}\n", terminal::json::safe(me.get())))?;
        return Ok(Exit::Ok);
    }
    let me: Me = answer.read()?;
    terminal::print(&format!("{} at {}\n", description(&me), client.server()))?;
    if !client.has_token() {
        let hint = "nobody is signed in; this development server takes whoever comes from its own machine for this user";
        terminal::note(&Paint::of_stderr().dim(hint));
    }
    Ok(Exit::Ok)
}

fn description(me: &Me) -> String {
    let mut rights = Vec::new();
    if me.is_superuser {
        rights.push("platform administrator".to_owned());
    }
    rights.extend(me.organization_id.iter().map(|id| format!("organization {id}")));
    rights.extend(me.roles.iter().map(|role| format!("role {role}")));
    let rights = if rights.is_empty() { String::new() } else { format!(" ({})", rights.join(", ")) };
    text::line(&format!("{}{rights}", me.email)).into_owned()
}

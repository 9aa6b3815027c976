//! Looks at a server once, for `bifrost doctor`: can we log in, and may we publish and subscribe.

use super::{Names, link::Link};
use std::time::Duration;
use tokio::time::timeout;

/// How long all of it may take.
const WITHIN: Duration = Duration::from_secs(8);

/// Logs in twice, as the bus does, subscribes to a channel of its own under `prefix` and publishes to it. Gives the server's version
/// when the user may ask for it.
///
/// # Errors
/// One line that says what is wrong and what to do.
pub async fn examine(url: &str, prefix: &str) -> Result<Option<String>, String> {
    let link = Link::new(url).map_err(|error| error.0)?;
    let names = Names { prefix: prefix.into() };
    match timeout(WITHIN, look(&link, &names)).await {
        Ok(outcome) => outcome,
        Err(_) => Err(format!(
            "no answer from redis at {} within {WITHIN:?}: is it Redis, and well?",
            link.address()
        )),
    }
}

async fn look(link: &Link, names: &Names) -> Result<Option<String>, String> {
    let mut publishing = link.publishing().await.map_err(|trouble| trouble.reason)?;
    let mut subscribing = link.subscribing().await.map_err(|trouble| trouble.reason)?;
    let channel = names.channel("doctor");
    subscribing.subscribe(&channel).await.map_err(|error| link.explain(&error).reason)?;
    redis::cmd("PUBLISH")
        .arg(&channel)
        .arg("doctor")
        .query_async::<()>(&mut publishing)
        .await
        .map_err(|error| link.explain(&error).reason)?;
    // Not every user may ask, and nothing depends on it.
    let info = redis::cmd("INFO").arg("server").query_async::<String>(&mut publishing).await;
    Ok(info.ok().as_deref().and_then(version))
}

fn version(info: &str) -> Option<String> {
    let line = info.lines().find_map(|line| line.strip_prefix("redis_version:"))?.trim();
    (line.len() <= 40 && !line.chars().any(char::is_control)).then(|| line.to_owned())
}

#[cfg(test)]
mod tests {
    use super::version;

    #[test]
    fn the_version_stands_in_the_info() {
        assert_eq!(version("# Server\r\nredis_version:7.0.15\r\nx:1\r\n").as_deref(), Some("7.0.15"));
        assert_eq!(version("# Server\r\n"), None);
    }
}

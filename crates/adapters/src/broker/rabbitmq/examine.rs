//! Looks at a server once, for `bifrost doctor`: can we log in, do we have the rights that the queues need, does it take messages.

use super::{
    address::Address,
    topology::{self, Names},
};
use futures::TryFutureExt;
use lapin::{
    BasicProperties, Confirmation, Connection, ConnectionProperties,
    options::{
        BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions, QueueDeleteOptions,
    },
    types::FieldTable,
};
use std::time::Duration;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// How long all of it may take.
const WITHIN: Duration = Duration::from_secs(8);
/// How long a confirm may take: a server without memory or disk takes nothing.
const CONFIRM_WITHIN: Duration = Duration::from_secs(3);
/// Largest greeting that is read, bytes.
const GREETING: usize = 8 * 1024;

/// Logs in, and declares, fills, reads and deletes a queue of its own under `prefix`; nothing is left behind.
///
/// # Errors
/// One line that says what is wrong and what to do.
pub async fn examine(url: &str, prefix: &str) -> Result<Option<String>, String> {
    let address = Address::parse(url).map_err(|error| error.to_string())?;
    let names = Names::new(prefix).map_err(|error| error.to_string())?;
    match timeout(WITHIN, look(&address, &names)).await {
        Ok(outcome) => outcome,
        Err(_) => {
            Err(format!("no answer from rabbitmq at {address} within {WITHIN:?}: is it RabbitMQ, and well?"))
        }
    }
}

async fn look(address: &Address, names: &Names) -> Result<Option<String>, String> {
    let explain = |error: lapin::Error| address.explain(&error).reason;
    let options = ConnectionProperties::default().with_connection_name("bifrost doctor".into());
    let connection = Connection::connect_uri(address.uri(), options).map_err(explain).await?;
    let version = version(address).await;
    let channel = connection.create_channel().map_err(explain).await?;
    topology::declare_exchange(&channel, names).map_err(explain).await?;
    // Gone with the connection, whatever happens.
    let options =
        QueueDeclareOptions { exclusive: true, auto_delete: true, ..QueueDeclareOptions::default() };
    let queue = names.passing("doctor");
    channel.queue_declare(queue.clone(), options, FieldTable::default()).map_err(explain).await?;
    channel.confirm_select(ConfirmSelectOptions::default()).map_err(explain).await?;
    let publish = async {
        let options = BasicPublishOptions::default();
        let confirm =
            channel.basic_publish("".into(), queue.clone(), options, b"doctor", BasicProperties::default());
        confirm.await?.await
    };
    match timeout(CONFIRM_WITHIN, publish).await {
        Ok(Ok(Confirmation::Nack(_))) | Err(_) => {
            return Err(format!(
                "rabbitmq at {address} takes no messages: look for a memory or disk alarm with `rabbitmq-diagnostics alarms`"
            ));
        }
        Ok(Ok(_)) => {}
        Ok(Err(error)) => return Err(explain(error)),
    }
    let got = channel.basic_get(queue.clone(), BasicGetOptions { no_ack: true }).map_err(explain).await?;
    channel.queue_delete(queue, QueueDeleteOptions::default()).map_err(explain).await?;
    let _ = connection.close(200, "done".into()).await;
    match got {
        Some(_) => Ok(version),
        None => Err(format!("rabbitmq at {address} lost a message that it had confirmed")),
    }
}

/// The version, from the greeting that every server sends before it knows who comes; none over TLS.
async fn version(address: &Address) -> Option<String> {
    let uri = address.uri();
    if uri.scheme != lapin::uri::AMQPScheme::AMQP {
        return None;
    }
    let asked = async {
        let mut stream = TcpStream::connect((uri.authority.host.as_str(), uri.authority.port)).await.ok()?;
        stream.write_all(b"AMQP\0\0\x09\x01").await.ok()?;
        let mut head = [0; 7];
        stream.read_exact(&mut head).await.ok()?;
        let size = u32::from_be_bytes([head[3], head[4], head[5], head[6]]) as usize;
        let mut body = vec![0; size.min(GREETING)];
        stream.read_exact(&mut body).await.ok()?;
        in_greeting(&body)
    };
    timeout(Duration::from_secs(2), asked).await.ok().flatten()
}

/// The field `version` of the server's properties: name, `S` for text, length, text.
fn in_greeting(body: &[u8]) -> Option<String> {
    const FIELD: &[u8] = b"\x07versionS";
    let at = body.windows(FIELD.len()).position(|window| window == FIELD)? + FIELD.len();
    let length = u32::from_be_bytes(body.get(at..at + 4)?.try_into().ok()?) as usize;
    let text = body.get(at + 4..at.checked_add(4)?.checked_add(length)?)?;
    let text = std::str::from_utf8(text).ok()?;
    (text.len() <= 40 && !text.chars().any(char::is_control)).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::in_greeting;

    #[test]
    fn the_version_stands_in_the_greeting() {
        let greeting =
            b"\0\x0a\0\x0a\0\x09\0\0\0\x20\x07productS\0\0\0\x08RabbitMQ\x07versionS\0\0\0\x063.10.8\0";
        assert_eq!(in_greeting(greeting).as_deref(), Some("3.10.8"));
        for bad in [
            b"".as_slice(),
            b"\x07versionS\0",
            b"\x07versionS\0\0\0\xffshort",
            b"\x07versionS\xff\xff\xff\xffx",
        ] {
            assert_eq!(in_greeting(bad), None);
        }
    }
}

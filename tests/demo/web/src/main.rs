//! The demo's web service: `GET /` answers how many records redis holds. It reaches redis by the link's name and keeps
//! nothing, so each answer shows that the link leads to where the data is. One request per connection.

use std::{
    env,
    io::{self, BufRead as _, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    process::ExitCode,
    sync::{Arc, atomic::AtomicBool},
    thread,
    time::Duration,
};

/// A client, or redis, that says nothing for so long is given up.
const PATIENCE: Duration = Duration::from_secs(20);

fn main() -> ExitCode {
    let redis = env::var("REDIS").unwrap_or_else(|_| "redis:6379".to_owned());
    // The kernel ignores signals to a container's first process unless it asks for them; a stop would take its whole
    // grace period, and a move as long.
    let end = Arc::new(AtomicBool::new(true));
    if signal_hook::flag::register_conditional_shutdown(signal_hook::consts::SIGTERM, 0, end)
        .is_err()
    {
        let _ = writeln!(
            io::stderr(),
            "stopping will take the whole grace period: SIGTERM cannot be handled"
        );
    }
    let listener = match TcpListener::bind("0.0.0.0:8080") {
        Ok(listener) => listener,
        Err(error) => {
            let _ = writeln!(io::stderr(), "could not listen on port 8080: {error}");
            return ExitCode::FAILURE;
        }
    };
    for stream in listener.incoming().flatten() {
        let redis = redis.clone();
        thread::spawn(move || {
            if let Err(error) = answer(&stream, &redis) {
                let _ = writeln!(io::stderr(), "request: {error}");
            }
        });
    }
    ExitCode::SUCCESS
}

fn answer(mut client: &TcpStream, redis: &str) -> io::Result<()> {
    client.set_read_timeout(Some(PATIENCE))?;
    // The head of a request is short; one that is not, is not for us.
    let mut head = BufReader::new(client.take(8192)).lines();
    let request = head.next().transpose()?.unwrap_or_default();
    for line in head {
        if line?.is_empty() {
            break;
        }
    }
    let (status, body) = match request.starts_with("GET / ") {
        false => ("404 Not Found", "only `/` is here\n".to_owned()),
        true => match records(redis) {
            Ok(count) => ("200 OK", format!("{count} records\n")),
            Err(error) => ("502 Bad Gateway", format!("redis at {redis}: {error}\n")),
        },
    };
    let length = body.len();
    write!(
        client,
        "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )
}

/// The length of the list that the demo's client appends to.
fn records(redis: &str) -> io::Result<u64> {
    let mut stream = TcpStream::connect(redis)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(b"*2\r\n$4\r\nLLEN\r\n$7\r\nrecords\r\n")?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line)?;
    let number = line.trim_end().strip_prefix(':').and_then(|number| number.parse().ok());
    number.ok_or_else(|| io::Error::other(format!("`{}` is not a number", line.trim_end())))
}

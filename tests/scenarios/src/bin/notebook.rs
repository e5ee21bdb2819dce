//! The app under test: appends each number that it is told to `/data/log`, durably, before it says so. Std only, for it
//! is compiled statically into an image that holds little else; never run by hand.
//!
//! `add N` answers `ok N`; `dump` answers how many lines there are, then the lines; `fill N` writes N MiB of random
//! bytes beside the log, so that moving takes its time.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex, PoisonError},
    thread,
};

const LOG: &str = "/data/log";
const BALLAST: &str = "/data/ballast";

fn main() -> io::Result<()> {
    let log = OpenOptions::new().create(true).append(true).open(LOG)?;
    let log = Arc::new(Mutex::new(log));
    for stream in TcpListener::bind("0.0.0.0:7000")?.incoming().flatten() {
        let log = Arc::clone(&log);
        // A client that goes away ends its own thread only.
        thread::spawn(move || drop(serve(&stream, &log)));
    }
    Ok(())
}

fn serve(stream: &TcpStream, log: &Mutex<File>) -> io::Result<()> {
    let mut answers = stream;
    for line in BufReader::new(stream).lines() {
        let line = line?;
        let answer = match line.split_once(' ') {
            Some(("add", number)) => {
                let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
                log.write_all(format!("{number}\n").as_bytes())?;
                log.sync_data()?;
                format!("ok {number}\n")
            }
            Some(("fill", mib)) => {
                fill(mib.parse().map_err(io::Error::other)?)?;
                "ok\n".to_owned()
            }
            Some(_) | None if line == "dump" => {
                let all = fs::read_to_string(LOG)?;
                format!("{}\n{all}", all.lines().count())
            }
            Some(_) | None => format!("`{line}` is not known\n"),
        };
        answers.write_all(answer.as_bytes())?;
    }
    Ok(())
}

fn fill(mib: u64) -> io::Result<()> {
    let mut ballast = File::create(BALLAST)?;
    io::copy(&mut File::open("/dev/urandom")?.take(mib << 20), &mut ballast)?;
    ballast.sync_all()
}

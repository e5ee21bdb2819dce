//! As much of redis's protocol as the client needs: send a command, read its answer. No pipelining, no surprises.

use std::{
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reply {
    /// A short text, as `OK`.
    Text(String),
    /// Redis refused the command; nothing was done.
    Error(String),
    /// A number.
    Number(i64),
    /// A string; `None` where there is none.
    Bulk(Option<String>),
    /// A list.
    List(Vec<Reply>),
}

/// A connection.
#[derive(Debug)]
pub(super) struct Connection {
    stream: BufReader<TcpStream>,
}

impl Connection {
    /// Connects. An answer must then come within `patience`, or the call that waits for it fails.
    pub(super) fn open(address: SocketAddr, patience: Duration) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, patience)?;
        stream.set_read_timeout(Some(patience))?;
        stream.set_write_timeout(Some(patience))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream: BufReader::new(stream) })
    }

    /// Sends a command and waits for the answer. After an error the connection is of no more use, and whether the
    /// command was done is unknown.
    pub(super) fn call(&mut self, words: &[&str]) -> io::Result<Reply> {
        let mut request = format!("*{}\r\n", words.len());
        for word in words {
            request.push_str(&format!("${}\r\n{word}\r\n", word.len()));
        }
        self.stream.get_mut().write_all(request.as_bytes())?;
        self.reply()
    }

    fn reply(&mut self) -> io::Result<Reply> {
        let line = self.line()?;
        let (kind, rest) = line.split_at_checked(1).ok_or_else(|| strange(&line))?;
        let number = || rest.parse::<i64>().map_err(|_| strange(&line));
        match kind {
            "+" => Ok(Reply::Text(rest.to_owned())),
            "-" => Ok(Reply::Error(rest.to_owned())),
            ":" => Ok(Reply::Number(number()?)),
            "$" => self.bulk(number()?).map(Reply::Bulk),
            "*" => (0..number()?).map(|_| self.reply()).collect::<io::Result<_>>().map(Reply::List),
            _ => Err(strange(&line)),
        }
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        // Without its end the line may be cut anywhere: `:12` may be the beginning of `:123`.
        match line.strip_suffix("\r\n") {
            Some(whole) => Ok(whole.to_owned()),
            None => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    fn bulk(&mut self, length: i64) -> io::Result<Option<String>> {
        let Ok(length) = usize::try_from(length) else { return Ok(None) };
        let mut bytes = vec![0; length + 2];
        self.stream.read_exact(&mut bytes)?;
        bytes.truncate(length);
        String::from_utf8(bytes).map(Some).map_err(io::Error::other)
    }
}

fn strange(line: &str) -> io::Error {
    io::Error::other(format!("`{line}` is not what redis says"))
}

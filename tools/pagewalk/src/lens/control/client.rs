//! The lens's side of a control socket.

use std::{
    fs,
    io::{self, BufRead, BufReader, ErrorKind, Read, Write},
    os::unix::{
        fs::{FileTypeExt, MetadataExt},
        net::UnixStream,
    },
    path::Path,
    time::Duration,
};

use super::{
    ControlError, failed, folder,
    protocol::{Ask, Hello, PROTOCOL, Reply},
    socket_name, user,
};
use crate::lens::Shown;

/// How long a machine may take to say who it is.
const PATIENCE: Duration = Duration::from_secs(5);
/// Longest first line, and longest answer.
const MAX_HELLO: u64 = 64 << 10;
const MAX_REPLY: u64 = 1 << 30;

/// A connection to a running machine.
pub struct Client {
    stream: BufReader<UnixStream>,
    hello: Hello,
}

impl Client {
    /// To the machine `name`, or to the only one that runs.
    pub fn connect(name: Option<&str>) -> Result<Self, ControlError> {
        check_folder()?;
        match name {
            Some(name) => Self::to(name),
            None => Self::to_only(),
        }
    }

    /// The machine's name.
    pub fn name(&self) -> &str {
        &self.hello.name
    }

    /// Asks, and waits for the answer; a refusal is an error.
    pub fn ask(&mut self, ask: &Ask) -> Result<Reply, ControlError> {
        let mut line = serde_json::to_vec(ask).expect("an ask is plain data");
        line.push(b'\n');
        self.stream.get_mut().write_all(&line).map_err(|error| self.broken(error))?;
        match self.read(MAX_REPLY)? {
            Reply::Refused { why } => Err(ControlError::Refused(why)),
            reply => Ok(reply),
        }
    }

    /// What a lens shows.
    pub fn look(&mut self, ask: &Ask) -> Result<Shown, ControlError> {
        match self.ask(ask)? {
            Reply::Shown(shown) => shown.try_into().map_err(|why: &str| ControlError::Protocol(why.into())),
            other => Err(ControlError::Protocol(format!("{other:?} to a look"))),
        }
    }

    fn to(name: &str) -> Result<Self, ControlError> {
        let path = folder().join(socket_name(name)?);
        let gone = || ControlError::NoSuchMachine(name.to_owned());
        let there = match fs::symlink_metadata(&path) {
            Ok(there) => there,
            Err(error) if error.kind() == ErrorKind::NotFound => return Err(gone()),
            Err(error) => return Err(failed(&path)(error)),
        };
        if !there.file_type().is_socket() {
            return Err(ControlError::NotASocket(path));
        }
        if there.uid() != user() {
            return Err(ControlError::ForeignSocket(path));
        }
        let stream = UnixStream::connect(&path).map_err(|error| match error.kind() {
            ErrorKind::NotFound => gone(),
            ErrorKind::ConnectionRefused => ControlError::Stale { name: name.to_owned(), path: path.clone() },
            _ => failed(&path)(error),
        })?;
        Self::greet(stream, name, &path)
    }

    /// Reads who answers.
    fn greet(stream: UnixStream, name: &str, path: &Path) -> Result<Self, ControlError> {
        stream.set_read_timeout(Some(PATIENCE)).map_err(failed(path))?;
        let nobody = Hello { protocol: 0, version: String::new(), name: name.to_owned(), pid: 0 };
        let mut client = Client { stream: BufReader::new(stream), hello: nobody };
        client.hello = match client.read(MAX_HELLO)? {
            Reply::Hello(hello) => hello,
            Reply::Refused { why } => return Err(ControlError::Refused(why)),
            other => return Err(ControlError::Protocol(format!("it begins with {other:?}"))),
        };
        if client.hello.protocol != PROTOCOL {
            return Err(ControlError::OtherProtocol { hello: client.hello });
        }
        client.stream.get_ref().set_read_timeout(None).map_err(failed(path))?;
        Ok(client)
    }

    fn to_only() -> Result<Self, ControlError> {
        let mut clients = Vec::new();
        let mut failure = None;
        for name in names() {
            match Client::to(&name) {
                Ok(client) => clients.push(client),
                // They have ended.
                Err(ControlError::Stale { .. } | ControlError::NoSuchMachine(_) | ControlError::NotASocket(_)) => {}
                Err(why) => failure = Some(why),
            }
        }
        match clients.len() {
            0 => Err(failure.unwrap_or(ControlError::NoMachine)),
            1 => Ok(clients.remove(0)),
            _ => {
                let names: Vec<&str> = clients.iter().map(Client::name).collect();
                Err(ControlError::Several(names.join(", ")))
            }
        }
    }

    fn read(&mut self, most: u64) -> Result<Reply, ControlError> {
        let mut line = Vec::new();
        (&mut self.stream).take(most).read_until(b'\n', &mut line).map_err(|error| self.broken(error))?;
        match line.last() {
            Some(b'\n') => serde_json::from_slice(&line).map_err(|why| ControlError::Protocol(why.to_string())),
            _ if line.len() as u64 == most => Err(ControlError::Protocol(format!("a line of more than {most} bytes"))),
            _ => Err(ControlError::Ended(self.hello.name.clone())),
        }
    }

    /// What an error of the connection means.
    fn broken(&self, error: io::Error) -> ControlError {
        let name = self.hello.name.clone();
        match error.kind() {
            ErrorKind::BrokenPipe | ErrorKind::ConnectionReset | ErrorKind::UnexpectedEof => ControlError::Ended(name),
            ErrorKind::WouldBlock | ErrorKind::TimedOut => ControlError::Silent(name),
            _ => failed(&folder())(error),
        }
    }
}

/// Asks the machine `name`, or the only one that runs, once.
pub fn ask(name: Option<&str>, ask: &Ask) -> Result<Reply, ControlError> {
    Client::connect(name)?.ask(ask)
}

/// Names of the sockets that there are, in order; nobody need listen to them.
fn names() -> Vec<String> {
    let entries = fs::read_dir(folder()).into_iter().flatten().flatten();
    let name = |entry: fs::DirEntry| Some(entry.file_name().to_str()?.strip_suffix(".sock")?.to_owned());
    let mut names: Vec<String> = entries.filter_map(name).collect();
    names.sort();
    names
}

/// Somebody else's folder is not looked into: whoever owns it could answer what he likes.
fn check_folder() -> Result<(), ControlError> {
    let folder = folder();
    match fs::symlink_metadata(&folder) {
        Ok(there) if !there.is_dir() || there.uid() != user() => Err(ControlError::ForeignFolder(folder)),
        Ok(_) => Ok(()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(failed(&folder)(error)),
    }
}

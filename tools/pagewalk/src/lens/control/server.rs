//! The machine's side of a control socket: threads take the asks, the run loop answers them between two
//! instructions. A client that is slow, silent or gone keeps nobody waiting but itself.

use std::{
    fs,
    io::{self, ErrorKind, Read, Write},
    os::unix::{
        fs::PermissionsExt,
        net::{UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc::{Receiver, Sender, SyncSender, channel, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

use super::{
    ControlError, failed, make_folder,
    protocol::{Ask, Hello, PROTOCOL, Reply},
    socket_name,
};

/// Longest line that a client may send.
const MAX_ASK: usize = 64 << 10;
/// How long a client may take to end a line that it has begun, or to take an answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long it may say nothing between two asks.
const SILENCE: Duration = Duration::from_secs(300);
/// Clients at the same time.
const MAX_CLIENTS: usize = 64;
/// How long the end of a run waits for answers to be taken.
const FAREWELL: Duration = Duration::from_millis(500);
/// What a machine that is gone says last.
const HAS_ENDED: &str = "the machine has ended";

/// The server of one machine.
pub struct Server {
    path: PathBuf,
    name: String,
    asks: Receiver<Asked>,
    shared: Arc<Shared>,
}

/// What the threads and the run loop count together.
#[derive(Default)]
struct Shared {
    /// Asks that nobody has answered yet.
    waiting: AtomicUsize,
    /// Answers that nobody has sent yet.
    unsent: AtomicUsize,
    clients: AtomicUsize,
}

/// An ask, and whom to answer.
pub struct Asked {
    /// What is wanted.
    pub ask: Ask,
    answer: SyncSender<Reply>,
    shared: Arc<Shared>,
}

impl Asked {
    /// Answers; a client that went away is no concern of ours.
    pub fn answer(self, reply: Reply) {
        self.shared.unsent.fetch_add(1, Ordering::SeqCst);
        if self.answer.send(reply).is_err() {
            self.shared.unsent.fetch_sub(1, Ordering::SeqCst);
        }
    }

    /// Says why not.
    pub fn refuse(self, why: impl Into<String>) {
        self.answer(Reply::Refused { why: why.into() });
    }
}

/// Whether somebody waits, for the run loop to look at.
pub struct Waiting(Arc<Shared>);

impl Waiting {
    /// Whether somebody waits.
    pub fn get(&self) -> bool {
        self.0.waiting.load(Ordering::Relaxed) > 0
    }
}

impl Server {
    /// Opens the socket of the machine `name`. A socket that nobody listens to any more is replaced.
    pub fn open(name: &str) -> Result<Self, ControlError> {
        let file = socket_name(name)?;
        let folder = make_folder()?;
        let path = folder.join(file);
        // Of two that begin at the same time with the same name one comes first.
        let lock = fs::File::open(&folder).map_err(failed(&folder))?;
        if let Err(error) = lock.lock() {
            log::debug!("{}: cannot be locked: {error}", folder.display());
        }
        match UnixStream::connect(&path) {
            Ok(_) => return Err(ControlError::NameTaken(name.to_owned())),
            Err(e) if e.kind() == ErrorKind::NotFound => {}
            Err(e) if e.kind() == ErrorKind::ConnectionRefused => fs::remove_file(&path).map_err(failed(&path))?,
            Err(e) => return Err(failed(&path)(e)),
        }
        let listener = UnixListener::bind(&path).map_err(failed(&path))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).map_err(failed(&path))?;
        drop(lock);
        let (send, asks) = channel();
        let shared = Arc::<Shared>::default();
        let hello = Hello {
            protocol: PROTOCOL,
            version: env!("CARGO_PKG_VERSION").into(),
            name: name.into(),
            pid: std::process::id(),
        };
        let counts = Arc::clone(&shared);
        thread::spawn(move || listen(&listener, &hello, &send, &counts));
        Ok(Server { path, name: name.to_owned(), asks, shared })
    }

    /// The socket.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The machine's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether somebody waits, for the run loop to look at.
    pub fn waiting(&self) -> Waiting {
        Waiting(Arc::clone(&self.shared))
    }

    /// The next ask, waiting for it no longer than this.
    pub fn next(&mut self, most: Duration) -> Option<Asked> {
        let asked = self.asks.recv_timeout(most).ok()?;
        self.shared.waiting.fetch_sub(1, Ordering::Relaxed);
        Some(asked)
    }
}

impl Drop for Server {
    /// Nobody finds the machine any more; whoever still waits is told so.
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
        while let Some(asked) = self.next(Duration::ZERO) {
            asked.refuse(HAS_ENDED);
        }
        let began = Instant::now();
        while self.shared.unsent.load(Ordering::SeqCst) > 0 && began.elapsed() < FAREWELL {
            thread::sleep(Duration::from_millis(1));
        }
    }
}

/// Takes clients for as long as the process lives.
fn listen(listener: &UnixListener, hello: &Hello, asks: &Sender<Asked>, shared: &Arc<Shared>) {
    loop {
        let Ok((stream, _)) = listener.accept() else {
            // The host has no room for another connection now.
            thread::sleep(Duration::from_millis(50));
            continue;
        };
        let (hello, asks, shared) = (hello.clone(), asks.clone(), Arc::clone(shared));
        let clients = shared.clients.fetch_add(1, Ordering::SeqCst);
        let serve = move || {
            let mut client = Client { stream, begun: Vec::new() };
            let outcome = if clients < MAX_CLIENTS {
                client.serve(hello, &asks, &shared)
            } else {
                client.say(&Reply::Refused { why: format!("{MAX_CLIENTS} clients look at this machine already") })
            };
            if let Err(why) = outcome {
                log::debug!("control socket: {why}");
            }
            shared.clients.fetch_sub(1, Ordering::SeqCst);
        };
        if thread::Builder::new().spawn(serve).is_err() {
            log::warn!("control socket: the host has no thread for a client");
        }
    }
}

/// A connection.
struct Client {
    stream: UnixStream,
    /// What came of the next line.
    begun: Vec<u8>,
}

impl Client {
    /// Answers asks until the client goes, falls silent or says what is no line.
    fn serve(&mut self, hello: Hello, asks: &Sender<Asked>, shared: &Arc<Shared>) -> io::Result<()> {
        self.stream.set_write_timeout(Some(PATIENCE))?;
        self.say(&Reply::Hello(hello.clone()))?;
        loop {
            let line = match self.line()? {
                Line::Whole(line) => line,
                Line::End => return Ok(()),
                Line::Bad(why) => return self.say(&Reply::Refused { why }),
            };
            let reply = match serde_json::from_slice(&line) {
                Ok(Ask::Hello { protocol: PROTOCOL }) => Reply::Hello(hello.clone()),
                Ok(Ask::Hello { protocol }) => {
                    Reply::Refused { why: format!("this machine speaks protocol {PROTOCOL}, not {protocol}") }
                }
                Ok(ask) => {
                    let (answer, answered) = sync_channel(1);
                    shared.waiting.fetch_add(1, Ordering::Relaxed);
                    let sent = asks.send(Asked { ask, answer, shared: Arc::clone(shared) });
                    let Some(reply) = sent.ok().and_then(|()| answered.recv().ok()) else {
                        return self.say(&Reply::Refused { why: HAS_ENDED.into() });
                    };
                    let outcome = self.say(&reply);
                    shared.unsent.fetch_sub(1, Ordering::SeqCst);
                    outcome?;
                    continue;
                }
                Err(why) => Reply::Refused { why: format!("the request can't be read: {why}") },
            };
            self.say(&reply)?;
        }
    }

    fn say(&mut self, reply: &Reply) -> io::Result<()> {
        let mut line = serde_json::to_vec(reply).expect("a reply is plain data");
        line.push(b'\n');
        self.stream.write_all(&line)
    }

    /// The next line, without its end.
    fn line(&mut self) -> io::Result<Line> {
        let mut since = Instant::now();
        loop {
            if let Some(end) = self.begun.iter().position(|&byte| byte == b'\n') {
                let rest = self.begun.split_off(end + 1);
                let mut line = std::mem::replace(&mut self.begun, rest);
                line.pop();
                return Ok(Line::Whole(line));
            }
            if self.begun.len() > MAX_ASK {
                return Ok(Line::Bad(format!("a request has at most {MAX_ASK} bytes, and ends with a line feed")));
            }
            let most = if self.begun.is_empty() { SILENCE } else { PATIENCE };
            let Some(left) = most.checked_sub(since.elapsed()).filter(|left| !left.is_zero()) else {
                return Ok(Line::Bad(format!("nothing, or no whole line, came for {} s", most.as_secs())));
            };
            self.stream.set_read_timeout(Some(left))?;
            let mut piece = [0; 4096];
            match self.stream.read(&mut piece) {
                Ok(0) if self.begun.is_empty() => return Ok(Line::End),
                Ok(0) => return Ok(Line::Bad("the request ends without a line feed".into())),
                Ok(len) => {
                    if self.begun.is_empty() {
                        since = Instant::now();
                    }
                    self.begun.extend_from_slice(&piece[..len]);
                }
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted) => {}
                Err(e) => return Err(e),
            }
        }
    }
}

/// What a client sent.
enum Line {
    Whole(Vec<u8>),
    End,
    /// It cannot be one, for this reason.
    Bad(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the client at the other end of a connection hears, which sends `said` and closes.
    fn heard(said: &[u8]) -> Vec<String> {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        theirs.write_all(said).unwrap();
        theirs.shutdown(std::net::Shutdown::Write).unwrap();
        let hello = Hello { protocol: PROTOCOL, version: "v".into(), name: "n".into(), pid: 1 };
        let (asks, asked) = channel::<Asked>();
        let answers = thread::spawn(move || {
            for asked in asked {
                let reply = match asked.ask {
                    Ask::Pause => Reply::Done,
                    // Its sender is dropped, as by a machine that ends.
                    _ => continue,
                };
                asked.answer(reply);
            }
        });
        let _ = Client { stream: ours, begun: Vec::new() }.serve(hello, &asks, &Arc::default());
        drop(asks);
        answers.join().unwrap();
        let mut bytes = Vec::new();
        // Where the rest of a line was not read, what was answered is followed by a reset.
        let _ = theirs.read_to_end(&mut bytes);
        String::from_utf8(bytes).unwrap().lines().map(str::to_owned).collect()
    }

    #[test]
    fn a_client_is_greeted_and_answered_line_by_line() {
        let hello = r#"{"reply":"hello","protocol":1,"version":"v","name":"n","pid":1}"#;
        let refused = |why: &str| format!(r#"{{"reply":"refused","why":"{why}"}}"#);
        assert_eq!(heard(b""), [hello]);
        assert_eq!(heard(b"{\"ask\":\"hello\",\"protocol\":1}\n"), [hello, hello]);
        assert_eq!(
            heard(b"{\"ask\":\"hello\",\"protocol\":9}\n{\"ask\":\"pause\"}\n"),
            [hello, &refused("this machine speaks protocol 1, not 9"), r#"{"reply":"done"}"#]
        );
        assert_eq!(heard(b"{\"ask\":\"pause\"}"), [hello, &refused("the request ends without a line feed")]);
        assert_eq!(heard(b"{\"ask\":\"status\"}\n"), [hello, &refused(HAS_ENDED)]);
    }

    #[test]
    fn what_is_no_request_is_refused_and_the_next_line_answered() {
        for bad in [
            &b"GET / HTTP/1.1"[..],
            b"{}",
            b"[]",
            b"\xff\xfe\x00",
            b"{\"ask\":\"format\"}",
            b"{\"ask\":\"step\"}",
            b"{\"ask\":\"step\",\"instructions\":-1}",
            b"{\"ask\":\"look\",\"request\":{\"lens\":\"x-ray\"}}",
            b"",
        ] {
            let lines = heard(&[bad, b"\n{\"ask\":\"pause\"}\n"].concat());
            assert_eq!(lines.len(), 3, "{lines:?}");
            assert!(lines[1].starts_with(r#"{"reply":"refused","why":"the request can't be read: "#), "{lines:?}");
            assert_eq!(lines[2], r#"{"reply":"done"}"#);
        }
        let nested = heard(&["[".repeat(60_000).as_bytes(), b"\n"].concat());
        assert!(nested[1].starts_with(r#"{"reply":"refused","#), "no stack overflows: {nested:?}");
        let long = heard(&vec![b'x'; MAX_ASK + 5000]);
        assert!(long[1].contains("a request has at most 65536 bytes"), "{long:?}");
    }
}

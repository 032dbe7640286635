use std::{
    fs,
    io::{self, BufRead, BufReader, Read, Write},
    os::unix::{
        fs::PermissionsExt,
        net::{UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc::{Receiver, Sender, channel},
    },
    thread,
    time::Duration,
};

use machine::Machine;

use super::{Ask, ControlError, Reply, failed, make_folder, socket_name};
use crate::lens::{Shown, look};

/// Longest line that a client may send.
const MAX_ASK: u64 = 64 << 10;
/// How long a client may take to send it, or to take the answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// What the run does after the clients were served.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum After {
    /// It goes on.
    Resume,
    /// It ends.
    Quit,
}

/// The server's side: a thread takes the asks, the run loop answers them between instructions.
pub struct Server {
    path: PathBuf,
    asks: Receiver<(Ask, UnixStream)>,
    waiting: Arc<AtomicUsize>,
}

/// Whether somebody waits, for the run loop to look at.
pub struct Waiting(Arc<AtomicUsize>);

impl Waiting {
    /// Whether somebody waits.
    pub fn get(&self) -> bool {
        self.0.load(Ordering::Relaxed) > 0
    }
}

impl Server {
    /// Opens the socket of the machine `name`. A socket that nobody listens to any more is replaced.
    pub fn open(name: &str) -> Result<Self, ControlError> {
        let file = socket_name(name)?;
        let path = make_folder()?.join(file);
        match UnixStream::connect(&path) {
            Ok(_) => return Err(ControlError::NameTaken(name.to_owned())),
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(_) => fs::remove_file(&path).map_err(failed(&path))?,
        }
        let listener = UnixListener::bind(&path).map_err(failed(&path))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).map_err(failed(&path))?;
        let (send, asks) = channel();
        let waiting = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&waiting);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (send, count) = (send.clone(), Arc::clone(&count));
                thread::spawn(move || take(client, &send, &count));
            }
        });
        Ok(Server { path, asks, waiting })
    }

    /// The socket.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether somebody waits, for the run loop to look at.
    pub fn waiting(&self) -> Waiting {
        Waiting(Arc::clone(&self.waiting))
    }

    /// Answers everybody who waits.
    pub fn serve(&mut self, machine: &mut Machine) -> After {
        let mut after = After::Resume;
        while let Ok((ask, client)) = self.asks.try_recv() {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            let reply = match ask {
                Ask::Look { request, json } => match look(machine, &request) {
                    Ok(answer) => {
                        let Shown { text, note } = Shown::of(answer, json);
                        Reply::Shown { text, note }
                    }
                    Err(e) => Reply::Refused(e.to_string()),
                },
                Ask::Quit => {
                    after = After::Quit;
                    Reply::Shown { text: Vec::new(), note: None }
                }
            };
            respond(client, &reply);
        }
        after
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// Takes one ask from a client.
fn take(client: UnixStream, asks: &Sender<(Ask, UnixStream)>, waiting: &AtomicUsize) {
    let limits = client.set_read_timeout(Some(PATIENCE)).and_then(|()| client.set_write_timeout(Some(PATIENCE)));
    let mut line = String::new();
    let read = limits.and_then(|()| BufReader::new((&client).take(MAX_ASK)).read_line(&mut line));
    match read.map_err(|e| e.to_string()).and_then(|_| serde_json::from_str(&line).map_err(|e| e.to_string())) {
        Ok(ask) => {
            waiting.fetch_add(1, Ordering::Relaxed);
            if asks.send((ask, client)).is_err() {
                waiting.fetch_sub(1, Ordering::Relaxed);
            }
        }
        Err(why) => {
            log::debug!("control socket: {why}");
            respond(client, &Reply::Refused(format!("the request can't be read: {why}")));
        }
    }
}

/// Answers; a client that went away is no concern of ours.
fn respond(mut client: UnixStream, reply: &Reply) {
    let mut line = serde_json::to_vec(reply).expect("a reply is plain data");
    line.push(b'\n');
    if let Err(e) = client.write_all(&line) {
        log::debug!("control socket: {e}");
    }
}

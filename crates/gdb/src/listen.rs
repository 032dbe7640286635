//! Where gdb finds us.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
#[cfg(unix)]
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;

use crate::Error;
use crate::link::Stream;

/// The port when none is given.
const DEFAULT_PORT: u16 = 1234;

/// An address to listen on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ListenAddr {
    /// TCP; the loopback interface unless the user names another.
    Tcp(SocketAddr),
    /// A Unix socket.
    Unix(PathBuf),
}

impl ListenAddr {
    /// Reads `127.0.0.1:1234`, `localhost:1234`, `:1234`, `1234` or `unix:PATH`.
    ///
    /// # Errors
    /// [`Error::BadAddress`] for anything else.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let bad = || Error::BadAddress(text.to_owned());
        if let Some(path) = text.strip_prefix("unix:") {
            return if path.is_empty() || cfg!(not(unix)) { Err(bad()) } else { Ok(ListenAddr::Unix(path.into())) };
        }
        if text.is_empty() {
            return Ok(ListenAddr::Tcp(([127, 0, 0, 1], DEFAULT_PORT).into()));
        }
        if let Ok(port) = text.strip_prefix(':').unwrap_or(text).parse() {
            return Ok(ListenAddr::Tcp(([127, 0, 0, 1], port).into()));
        }
        let found = text.to_socket_addrs().map_err(|_| bad())?.next();
        found.map(ListenAddr::Tcp).ok_or_else(bad)
    }
}

impl fmt::Display for ListenAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ListenAddr::Tcp(addr) => addr.fmt(f),
            ListenAddr::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

enum Socket {
    Tcp(TcpListener),
    #[cfg(unix)]
    Unix(UnixListener, PathBuf),
}

/// A socket that waits for gdb.
pub struct Listener {
    socket: Socket,
    addr: ListenAddr,
}

impl Listener {
    /// Listens on `addr`. A Unix socket that nobody answers any more is replaced.
    ///
    /// # Errors
    /// [`Error::Listen`], such as for a port that is taken.
    pub fn bind(addr: &ListenAddr) -> Result<Self, Error> {
        let failed = |source| Error::Listen { address: addr.to_string(), source };
        match addr {
            ListenAddr::Tcp(tcp) => {
                let listener = TcpListener::bind(tcp).map_err(failed)?;
                listener.set_nonblocking(true).map_err(failed)?;
                let addr = ListenAddr::Tcp(listener.local_addr().map_err(failed)?);
                Ok(Listener { socket: Socket::Tcp(listener), addr })
            }
            #[cfg(unix)]
            ListenAddr::Unix(path) => {
                let listener = bind_unix(path).map_err(failed)?;
                listener.set_nonblocking(true).map_err(failed)?;
                Ok(Listener { socket: Socket::Unix(listener, path.clone()), addr: addr.clone() })
            }
            #[cfg(not(unix))]
            ListenAddr::Unix(_) => Err(failed(io::ErrorKind::Unsupported.into())),
        }
    }

    /// Where we listen; with port 0 asked for, the port that we got.
    pub fn addr(&self) -> &ListenAddr {
        &self.addr
    }

    /// The connection that waits, if there is one.
    ///
    /// # Errors
    /// What the host says.
    pub fn poll(&self) -> Result<Option<Box<dyn Stream>>, Error> {
        let accepted: io::Result<Box<dyn Stream>> = match &self.socket {
            Socket::Tcp(listener) => listener.accept().map(|(stream, _)| Box::new(stream) as Box<dyn Stream>),
            #[cfg(unix)]
            Socket::Unix(listener, _) => listener.accept().map(|(stream, _)| Box::new(stream) as Box<dyn Stream>),
        };
        match accepted {
            Ok(stream) => Ok(Some(stream)),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::ConnectionAborted) => {
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// Binds a Unix socket; one left behind by a process that is gone is removed first.
#[cfg(unix)]
fn bind_unix(path: &std::path::Path) -> io::Result<UnixListener> {
    use std::os::unix::fs::FileTypeExt;
    match UnixListener::bind(path) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            let is_socket = std::fs::symlink_metadata(path)?.file_type().is_socket();
            if !is_socket || UnixStream::connect(path).is_ok() {
                return Err(error);
            }
            std::fs::remove_file(path)?;
            UnixListener::bind(path)
        }
        other => other,
    }
}

#[cfg(unix)]
impl Drop for Listener {
    fn drop(&mut self) {
        if let Socket::Unix(_, path) = &self.socket {
            let _ = std::fs::remove_file(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_in_every_form() {
        let read = |text: &str| ListenAddr::parse(text).map(|addr| addr.to_string()).map_err(|error| error.to_string());
        assert_eq!(read("").as_deref(), Ok("127.0.0.1:1234"));
        assert_eq!(read("4321").as_deref(), Ok("127.0.0.1:4321"));
        assert_eq!(read(":4321").as_deref(), Ok("127.0.0.1:4321"));
        assert_eq!(read("[::1]:9").as_deref(), Ok("[::1]:9"));
        #[cfg(unix)]
        assert_eq!(read("unix:/tmp/x").as_deref(), Ok("unix:/tmp/x"));
        for bad in ["unix:", "99999", "nonsense", "1.2.3.4"] {
            assert_eq!(read(bad), Err(format!("`{bad}` is no address for gdb: give HOST:PORT, a port, or unix:PATH")));
        }
    }

    #[test]
    fn a_port_in_use_is_one_clear_line() {
        let first = Listener::bind(&ListenAddr::parse("0").unwrap()).unwrap();
        let error = Listener::bind(first.addr()).err().unwrap().to_string();
        assert!(error.starts_with(&format!("cannot wait for gdb on {}: ", first.addr())), "{error}");
    }

    #[cfg(unix)]
    #[test]
    fn a_stale_unix_socket_is_replaced_and_a_file_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("gdb.sock");
        drop(UnixListener::bind(&path).unwrap());
        let addr = ListenAddr::Unix(path.clone());
        let live = Listener::bind(&addr).unwrap();
        assert!(Listener::bind(&addr).is_err(), "a live one is left alone");
        drop(live);
        assert!(!path.exists());
        std::fs::write(&path, "mine").unwrap();
        assert!(Listener::bind(&addr).is_err());
        assert_eq!(std::fs::read(&path).unwrap(), b"mine");
    }
}

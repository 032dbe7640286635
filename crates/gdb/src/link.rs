//! The byte stream to gdb: framing, checksums, acknowledgements and retransmission.
//!
//! gdbstub ends the session at the first packet that is damaged; here such a packet is
//! asked for again, so that only whole packets reach it.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
#[cfg(unix)]
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError, channel};
use std::thread;
use std::time::Duration;

/// The longest packet taken.
pub const MAX_PACKET: usize = 0x8000;
/// The character with which gdb interrupts.
pub const INTERRUPT: u8 = 3;
/// How long gdb may refuse to read before the connection counts as broken.
const WRITE_PATIENCE: Duration = Duration::from_secs(30);

/// A connected socket.
pub trait Stream: Read + Write + Send {
    /// A second handle on the same connection, for reading.
    ///
    /// # Errors
    /// What the host says.
    fn reader(&self) -> io::Result<Box<dyn Read + Send>>;
    /// Ends the connection, so that a waiting reader returns.
    fn close(&self);
    /// Makes the connection fit for small packets.
    ///
    /// # Errors
    /// What the host says.
    fn prepare(&self) -> io::Result<()>;
}

macro_rules! stream {
    ($type:ty, $no_delay:expr) => {
        impl Stream for $type {
            fn reader(&self) -> io::Result<Box<dyn Read + Send>> {
                Ok(Box::new(self.try_clone()?))
            }

            fn close(&self) {
                let _ = self.shutdown(Shutdown::Both);
            }

            fn prepare(&self) -> io::Result<()> {
                self.set_nonblocking(false)?;
                self.set_write_timeout(Some(WRITE_PATIENCE))?;
                $no_delay(self)
            }
        }
    };
}
stream!(TcpStream, |stream: &TcpStream| stream.set_nodelay(true));
#[cfg(unix)]
stream!(UnixStream, |_| Ok(()));

/// What came from gdb.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Received {
    /// A whole packet with a right checksum, from `$` to the checksum's last digit.
    Packet(Vec<u8>),
    /// The interrupt character.
    Interrupt,
    /// Nothing more will come.
    End,
}

/// Bytes on their way to gdb, shared with gdbstub's side.
#[derive(Default)]
struct Outgoing {
    bytes: Vec<u8>,
    /// Responses are thrown away: they answer what gdb did not ask.
    muted: bool,
}

/// gdbstub's side: it writes, we send.
#[derive(Clone)]
pub struct Wire(Rc<RefCell<Outgoing>>);

impl gdbstub::conn::Connection for Wire {
    type Error = io::Error;

    fn write(&mut self, byte: u8) -> io::Result<()> {
        self.0.borrow_mut().bytes.push(byte);
        Ok(())
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.borrow_mut().bytes.extend_from_slice(bytes);
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The connection. A thread of its own reads, so that a running machine can be told by a
/// flag that something has come.
pub struct Link {
    stream: Box<dyn Stream>,
    incoming: Receiver<Vec<u8>>,
    out: Rc<RefCell<Outgoing>>,
    raw: VecDeque<u8>,
    partial: Vec<u8>,
    last_sent: Vec<u8>,
    acknowledge: bool,
    ended: bool,
    arrived: Arc<AtomicBool>,
}

impl Link {
    /// Speaks over `stream`; sets `arrived` whenever there is something to receive.
    ///
    /// # Errors
    /// What the host says.
    pub fn new(stream: Box<dyn Stream>, arrived: Arc<AtomicBool>) -> io::Result<Self> {
        stream.prepare()?;
        let reader = stream.reader()?;
        let (send, incoming) = channel();
        let flag = arrived.clone();
        thread::Builder::new().name("gdb".into()).spawn(move || read_on(reader, send, &flag))?;
        Ok(Link {
            stream,
            incoming,
            out: Rc::default(),
            raw: VecDeque::new(),
            partial: Vec::new(),
            last_sent: Vec::new(),
            acknowledge: true,
            ended: false,
            arrived,
        })
    }

    /// The side that gdbstub writes to.
    pub fn wire(&self) -> Wire {
        Wire(self.out.clone())
    }

    /// From now on neither side acknowledges.
    pub fn stop_acknowledging(&mut self) {
        self.acknowledge = false;
    }

    /// Throws away what gdbstub answers until told otherwise.
    pub fn mute(&mut self, muted: bool) {
        let mut out = self.out.borrow_mut();
        out.muted = muted;
        out.bytes.clear();
    }

    /// Answers a packet without gdbstub.
    pub fn answer(&mut self, body: &str) {
        let sum = body.bytes().fold(0u8, u8::wrapping_add);
        let ack = if self.acknowledge { "+" } else { "" };
        self.out.borrow_mut().bytes.extend_from_slice(format!("{ack}${body}#{sum:02x}").as_bytes());
    }

    /// Has gdb print a text, while it waits for a stop (GDB manual, "Stop Reply Packets": `O`).
    pub fn say(&mut self, text: &str) {
        // Each packet must fit into gdb's buffer, which is as long as ours.
        for part in text.as_bytes().chunks(MAX_PACKET / 4) {
            let body: String = part.iter().fold(String::from("O"), |body, byte| body + &format!("{byte:02x}"));
            let sum = body.bytes().fold(0u8, u8::wrapping_add);
            self.out.borrow_mut().bytes.extend_from_slice(format!("${body}#{sum:02x}").as_bytes());
        }
    }

    /// Sends what was written. After an error the next [`Link::receive`] is the end.
    pub fn send(&mut self) {
        let bytes = {
            let mut out = self.out.borrow_mut();
            let bytes = std::mem::take(&mut out.bytes);
            if out.muted { Vec::new() } else { bytes }
        };
        if bytes.is_empty() {
            return;
        }
        if self.stream.write_all(&bytes).and_then(|()| self.stream.flush()).is_err() {
            self.ended = true;
        }
        if let Some(start) = bytes.iter().position(|&b| b == b'$') {
            self.last_sent = bytes[start..].to_vec();
        }
    }

    /// The next thing from gdb; waits up to `wait`.
    pub fn receive(&mut self, wait: Duration) -> Option<Received> {
        loop {
            if let Some(received) = self.next_whole() {
                return Some(received);
            }
            if self.ended {
                return Some(Received::End);
            }
            self.arrived.store(false, Ordering::Relaxed);
            let piece = match self.incoming.try_recv() {
                Err(TryRecvError::Empty) if !wait.is_zero() => self.incoming.recv_timeout(wait),
                Err(TryRecvError::Empty) => return None,
                Err(TryRecvError::Disconnected) => Err(RecvTimeoutError::Disconnected),
                Ok(piece) => Ok(piece),
            };
            match piece {
                Ok(piece) => self.raw.extend(piece),
                Err(RecvTimeoutError::Timeout) => return None,
                Err(RecvTimeoutError::Disconnected) => self.ended = true,
            }
        }
    }

    /// Takes bytes until something is whole.
    fn next_whole(&mut self) -> Option<Received> {
        while let Some(byte) = self.raw.pop_front() {
            let in_packet = !self.partial.is_empty();
            match byte {
                b'$' => {
                    // Inside a packet it is escaped: the one before was cut short.
                    self.partial.clear();
                    self.partial.push(byte);
                }
                INTERRUPT if !in_packet => return Some(Received::Interrupt),
                b'-' if !in_packet => self.resend(),
                _ if !in_packet => {}
                _ => self.partial.push(byte),
            }
            if self.partial.len() > MAX_PACKET {
                self.partial.clear();
                self.refuse();
            }
            if let Some(hash) = self.partial.len().checked_sub(3).filter(|&at| self.partial[at] == b'#') {
                let packet = std::mem::take(&mut self.partial);
                if checksum_is_right(&packet[1..hash], &packet[hash + 1..]) {
                    return Some(Received::Packet(packet));
                }
                self.refuse();
            }
        }
        None
    }

    /// Asks for a damaged packet again.
    fn refuse(&mut self) {
        if self.acknowledge {
            self.out.borrow_mut().bytes.push(b'-');
        }
        self.send_keeping_last();
    }

    fn resend(&mut self) {
        let last = self.last_sent.clone();
        self.out.borrow_mut().bytes.extend(last);
        self.send();
    }

    fn send_keeping_last(&mut self) {
        let last = std::mem::take(&mut self.last_sent);
        self.send();
        self.last_sent = last;
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.stream.close();
    }
}

/// Reads to the end of the connection.
fn read_on(mut reader: Box<dyn Read + Send>, send: Sender<Vec<u8>>, arrived: &AtomicBool) {
    let mut chunk = [0; 4096];
    loop {
        match reader.read(&mut chunk) {
            Ok(n) if n > 0 && send.send(chunk[..n].to_vec()).is_ok() => arrived.store(true, Ordering::Relaxed),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            _ => break,
        }
    }
    // The end is news too: the closed channel tells it.
    drop(send);
    arrived.store(true, Ordering::Relaxed);
}

fn checksum_is_right(body: &[u8], digits: &[u8]) -> bool {
    let sum = body.iter().copied().fold(0u8, u8::wrapping_add);
    std::str::from_utf8(digits).is_ok_and(|digits| u8::from_str_radix(digits, 16) == Ok(sum))
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    fn pair() -> (Link, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        (Link::new(Box::new(ours), Arc::default()).unwrap(), theirs)
    }

    fn next(link: &mut Link) -> Option<Received> {
        link.receive(Duration::from_millis(200))
    }

    fn all(link: &mut Link) -> Vec<Received> {
        std::iter::from_fn(|| next(link)).take_while(|received| *received != Received::End).collect()
    }

    fn sent(theirs: &mut UnixStream) -> String {
        theirs.set_nonblocking(true).unwrap();
        let mut bytes = [0; 256];
        let n = theirs.read(&mut bytes).unwrap_or(0);
        String::from_utf8_lossy(&bytes[..n]).into_owned()
    }

    #[test]
    fn whole_packets_pass_and_noise_between_them_does_not() {
        let (mut link, mut theirs) = pair();
        theirs.write_all(b"\n++$g#67zz\x03$m0,4#fd").unwrap();
        let want = [Received::Packet(b"$g#67".to_vec()), Received::Interrupt, Received::Packet(b"$m0,4#fd".to_vec())];
        assert_eq!(all(&mut link), want);
    }

    #[test]
    fn a_damaged_packet_is_asked_for_again() {
        let (mut link, mut theirs) = pair();
        theirs.write_all(b"$g#00$g#6x$cut$g#67").unwrap();
        assert_eq!(all(&mut link), [Received::Packet(b"$g#67".to_vec())]);
        assert_eq!(sent(&mut theirs), "--");
    }

    #[test]
    fn the_last_answer_is_sent_again_on_request() {
        let (mut link, mut theirs) = pair();
        link.answer("OK");
        link.send();
        assert_eq!(sent(&mut theirs), "+$OK#9a");
        theirs.write_all(b"-").unwrap();
        assert_eq!(all(&mut link), []);
        assert_eq!(sent(&mut theirs), "$OK#9a");
    }

    #[test]
    fn an_endless_packet_is_dropped() {
        let (mut link, mut theirs) = pair();
        let writer = thread::spawn(move || {
            theirs.write_all(b"$").unwrap();
            theirs.write_all(&vec![b'a'; MAX_PACKET * 2]).unwrap();
            theirs.write_all(b"$g#67").unwrap();
            theirs
        });
        assert_eq!(all(&mut link), [Received::Packet(b"$g#67".to_vec())]);
        drop(writer.join().unwrap());
    }

    #[test]
    fn the_other_side_going_away_is_the_end() {
        let (mut link, theirs) = pair();
        drop(theirs);
        assert_eq!(next(&mut link), Some(Received::End));
    }
}

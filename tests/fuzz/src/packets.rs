//! Bytes from whoever connects to the gdb stub.

use std::{
    io::{Read, Write},
    os::unix::net::UnixStream,
    thread,
    time::Duration,
};

use gdb::{Keeper, ListenAddr, Server, Setup, Verdict};
use inspect::{Answer, Request, Target};
use machine::{Detached, Host, Machine, Stop};

/// Lets a session take only so many rests, and runs only so long.
struct Patience {
    host: Detached,
    rests: u32,
    limit: u64,
}

impl Keeper for Patience {
    fn host(&mut self) -> &mut dyn Host {
        &mut self.host
    }
    fn stopped(&mut self, _: &mut Machine, _: Stop) -> Verdict {
        Verdict::End(0)
    }
    fn resting(&mut self, _: &mut Machine) -> Verdict {
        self.rests += 1;
        if self.rests > 200 { Verdict::End(0) } else { Verdict::GoOn }
    }
    fn limit(&self) -> Option<u64> {
        Some(self.limit)
    }
    fn look(&self, machine: &Machine, request: &Request) -> Result<Answer, inspect::Error> {
        let cpus = (0..machine.cpu_count()).map(|cpu| machine.cpu(cpu)).collect();
        inspect::look(&Target::new(cpus, machine.memory()), request)
    }
    fn file(&self, _: &Machine, _: &[u8]) -> Option<Vec<u8>> {
        None
    }
}

/// A packet with its checksum.
pub fn packet(text: &[u8]) -> Vec<u8> {
    let sum = text.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
    [b"$", text, format!("#{sum:02x}").as_bytes()].concat()
}

/// Each line as a packet with its checksum; of one that begins with `!` the rest is a command for the monitor.
pub fn lines(text: &[u8]) -> Vec<u8> {
    let line = |line: &[u8]| match line.strip_prefix(b"!") {
        Some(command) => {
            let digits: String = command.iter().map(|byte| format!("{byte:02x}")).collect();
            packet(format!("qRcmd,{digits}").as_bytes())
        }
        None => packet(line),
    };
    text.split(|byte| *byte == b'\n').flat_map(line).collect()
}

/// Says `bytes` to the stub and hangs up.
///
/// # Panics
/// When the host has no sockets in its temporary folder, or the stub does.
pub fn body(machine: &mut Machine, bytes: &[u8]) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("gdb");
    let server = Server::bind(&ListenAddr::Unix(path.clone()), Setup::default()).expect("a socket");
    // It waits in the queue before the server looks: one look is one session.
    let mut stream = UnixStream::connect(path).expect("somebody listens");
    let bytes = bytes.to_vec();
    let client = thread::spawn(move || {
        _ = stream.set_read_timeout(Some(Duration::from_millis(5)));
        _ = stream.write_all(&bytes);
        _ = stream.shutdown(std::net::Shutdown::Write);
        // What it answers matters only in that it ends.
        let mut answer = [0; 4096];
        while matches!(stream.read(&mut answer), Ok(1..)) {}
    });
    let mut keeper = Patience { host: Detached, rests: 0, limit: machine.retired() + 1000 };
    _ = server.poll(machine, &mut keeper);
    drop(server);
    client.join().expect("the client");
}

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    os::unix::net::UnixStream,
};

use super::{Ask, ControlError, Reply, failed, folder, socket_name};
use crate::lens::Shown;

/// Asks the machine `name`, or the only one that runs, and gives what it shows.
pub fn ask(name: Option<&str>, ask: &Ask) -> Result<Shown, ControlError> {
    let mut stream = match name {
        Some(name) => connect(name)?,
        None => connect_only()?,
    };
    let path = folder();
    let mut line = serde_json::to_vec(ask).expect("an ask is plain data");
    line.push(b'\n');
    stream.write_all(&line).map_err(failed(&path))?;
    let mut reply = Vec::new();
    BufReader::new(stream).read_until(b'\n', &mut reply).map_err(failed(&path))?;
    match serde_json::from_slice(&reply) {
        Ok(Reply::Shown { text, note }) => Ok(Shown { text, note }),
        Ok(Reply::Refused(why)) => Err(ControlError::Refused(why)),
        Err(_) if reply.is_empty() => Err(ControlError::Protocol("the machine ended meanwhile".into())),
        Err(e) => Err(ControlError::Protocol(e.to_string())),
    }
}

fn connect(name: &str) -> Result<UnixStream, ControlError> {
    let path = folder().join(socket_name(name)?);
    UnixStream::connect(&path).map_err(|e| {
        log::debug!("{}: {e}", path.display());
        ControlError::NoSuchMachine(name.to_owned())
    })
}

fn connect_only() -> Result<UnixStream, ControlError> {
    let mut names: Vec<String> = fs::read_dir(folder())
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| Some(entry.file_name().to_str()?.strip_suffix(".sock")?.to_owned()))
        .filter(|name| connect(name).is_ok())
        .collect();
    names.sort();
    match names.as_slice() {
        [] => Err(ControlError::NoMachine),
        [only] => connect(only),
        several => Err(ControlError::Several(several.join(", "))),
    }
}

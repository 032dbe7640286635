//! Encodings to try: every opcode of every map with every /digit, in register and memory form, with each mandatory
//! prefix, in 32-bit and 16-bit code; what follows is random. The decoder says what is an instruction.

use std::collections::BTreeMap;

use iced_x86::{Code, Decoder, DecoderOptions, Instruction};

use crate::{
    catalogue::{Catalogue, Verdict, calls_the_host},
    random::Random,
};

/// The part of an encoding that is not random.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Form {
    /// Default size of the code.
    pub bits: u32,
    /// 0 is none.
    prefix: u8,
    map: Map,
    opcode: u8,
    /// reg of ModR/M.
    digit: u8,
    memory: bool,
    /// Nothing that the decoder knows, however often it was asked.
    undefined: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Map {
    One,
    Two,
    Three38,
    Three3a,
}

/// All forms that both processors can be asked for, and what was left out.
pub struct Forms {
    /// To be run.
    pub forms: Vec<Form>,
    /// Instructions that were met but are not run, with the reason.
    pub left_out: BTreeMap<Code, &'static str>,
}

/// Decodes as the processor at `ip` would, which reads at most 15 bytes.
pub fn decode(bits: u32, bytes: &[u8], ip: u32) -> Instruction {
    let bytes = &bytes[..bytes.len().min(15)];
    Decoder::with_ip(bits, bytes, ip.into(), DecoderOptions::NONE).decode()
}

/// How often an encoding is asked what it is: what r/m tells apart may be one in eight.
const TRIES: usize = 24;

impl Forms {
    /// Goes through all encodings, in an order that mixes them.
    pub fn new(catalogue: &Catalogue) -> Forms {
        let mut random = Random::new(0);
        let mut forms = Vec::new();
        let mut left_out = BTreeMap::new();
        for form in Form::all() {
            let mut undefined = 0;
            let mut runs = false;
            for _ in 0..TRIES {
                let (bytes, instruction) = form.plain(&mut random);
                match catalogue.verdict(instruction.code()) {
                    Verdict::LeaveOut(reason) => _ = left_out.insert(instruction.code(), reason),
                    Verdict::Compare => {
                        runs |= !calls_the_host(&bytes);
                        undefined += usize::from(instruction.is_invalid());
                    }
                }
            }
            if runs {
                forms.push(Form { undefined: undefined == TRIES, ..form });
            }
        }
        for i in (1..forms.len()).rev() {
            forms.swap(i, random.below(i as u64 + 1) as usize);
        }
        Forms { forms, left_out }
    }
}

impl Form {
    fn all() -> impl Iterator<Item = Form> {
        let maps = [
            (Map::One, &[0, 0x66, 0xf2, 0xf3][..]),
            (Map::Two, &[0, 0x66, 0xf2, 0xf3]),
            (Map::Three38, &[0, 0x66, 0xf2, 0xf3]),
            (Map::Three3a, &[0, 0x66]),
        ];
        let prefixed = [32, 16].into_iter().flat_map(move |bits| {
            maps.into_iter().flat_map(move |(map, prefixes)| prefixes.iter().map(move |&prefix| (bits, map, prefix)))
        });
        prefixed.flat_map(|(bits, map, prefix)| {
            (0..=255).flat_map(move |opcode| {
                (0..16).map(move |i| Form {
                    bits,
                    prefix,
                    map,
                    opcode,
                    digit: i >> 1,
                    memory: i & 1 != 0,
                    undefined: false,
                })
            })
        })
    }

    /// An instruction of this form without other prefixes.
    fn plain(self, random: &mut Random) -> (Vec<u8>, Instruction) {
        let mut bytes = Vec::with_capacity(16);
        self.finish(&mut bytes, random)
    }

    /// An instruction of this form, at times with more prefixes; `None` if it is not its turn.
    pub fn instance(self, random: &mut Random) -> Option<(Vec<u8>, Instruction)> {
        if self.undefined && !random.one_in(8) {
            return None;
        }
        let mut bytes = Vec::with_capacity(32);
        if random.one_in(48) {
            let most = if random.one_in(4) { 15 } else { 4 };
            for _ in 0..random.below(most) {
                let prefixes = [0x66, 0x67, 0xf0, 0xf2, 0xf3, 0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65];
                bytes.push(prefixes[random.below(11) as usize]);
            }
        } else {
            for (prefix, odds) in
                [(0x66, 24), (0x67, 12), (0xf0, 24), (0x36, 48), (0x26, 48), (0x2e, 48), (0x64, 64), (0x65, 64)]
            {
                if random.one_in(odds) {
                    bytes.push(prefix);
                }
            }
        }
        Some(self.finish(&mut bytes, random))
    }

    fn finish(self, bytes: &mut Vec<u8>, random: &mut Random) -> (Vec<u8>, Instruction) {
        if self.prefix != 0 {
            bytes.push(self.prefix);
        }
        match self.map {
            Map::One => {}
            Map::Two => bytes.push(0x0f),
            Map::Three38 => bytes.extend([0x0f, 0x38]),
            Map::Three3a => bytes.extend([0x0f, 0x3a]),
        }
        bytes.push(self.opcode);
        let mode = if self.memory { random.below(3) as u8 } else { 3 };
        bytes.push(mode << 6 | self.digit << 3 | random.bits(3) as u8);
        // Operands that follow, small at times.
        for _ in 0..11 {
            bytes.push(if random.one_in(4) { random.bits(2) as u8 } else { random.bits(8) as u8 });
        }
        let instruction = decode(self.bits, bytes, 0);
        if !instruction.is_invalid() {
            bytes.truncate(instruction.len());
        }
        (std::mem::take(bytes), instruction)
    }
}

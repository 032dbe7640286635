//! Why two decoders differ, and which of them is right.

use std::fmt;

use iced_x86::{Instruction, MandatoryPrefix};

use crate::plain::{Operand, Plain};

/// Bytes, and what both make of them.
pub struct Case<'a> {
    pub bits: u32,
    pub bytes: &'a [u8],
    pub insn: &'a Instruction,
    pub ours: Option<Plain>,
    pub theirs: Option<Plain>,
}

/// A kind of difference that is no mistake of ours.
pub struct Rule {
    pub why: &'static str,
    pub explains: fn(&Case) -> bool,
}

/// iced's name, and capstone's where it is another one for the same instruction.
const NAMES: &[(&str, &str)] = &[
    ("call", "lcall"),
    ("cbw", "cwde"),
    ("cwd", "cdq"),
    ("faddp", "fadd"),
    ("fcomip", "fcompi"),
    ("fndisi", "fdisi8087_nop"),
    ("fneni", "feni8087_nop"),
    ("fnsetpm", "fsetpm"),
    ("fucomip", "fucompi"),
    ("jmp", "ljmp"),
    ("popa", "popaw"),
    ("popad", "popal"),
    ("pusha", "pushaw"),
    ("pushad", "pushal"),
];

/// The manual is Intel's SDM; who is right stands first.
pub const RULES: &[Rule] = &[
    Rule {
        why: "iced: LOCK before what cannot be locked is #UD (Vol. 2, \"LOCK\"); capstone ignores it",
        explains: |c| c.ours.is_none() && c.has(&[0xf0]),
    },
    Rule {
        why: "iced: VEX after 66, F2 or F3 and EVEX with bits that are reserved are #UD; capstone ignores them",
        explains: |c| {
            let avx = c.theirs.as_ref().is_some_and(|theirs| theirs.name.starts_with(['v', 'k']));
            c.ours.is_none() && avx && matches!(c.opcode()[0], 0xc4 | 0xc5 | 0x62)
        },
    },
    Rule {
        why: "iced: 66 chooses the instruction in 16-bit code too (Vol. 2, \"Mandatory Prefix\"); capstone ignores it",
        explains: |c| c.bits == 16 && c.is_escaped() && c.has(&[0x66]) && c.mandatory(),
    },
    Rule {
        why: "iced: F2 and F3 choose before 66 does (Vol. 2, \"Opcode Maps\"); capstone takes 66, or neither",
        explains: |c| c.is_escaped() && c.has(&[0x66]) && c.has(&[0xf2, 0xf3]),
    },
    Rule {
        why: "iced: F2 and F3 are found among other prefixes, and ignored if they choose nothing; capstone has no instruction",
        explains: |c| c.theirs.is_none() && c.has(&[0xf2, 0xf3]),
    },
    Rule {
        why: "iced: what the manual marks NP is #UD with 66, F2 or F3; capstone ignores the prefix",
        explains: |c| c.ours.is_none() && c.is_escaped() && c.has(&[0x66, 0xf2, 0xf3]),
    },
    Rule {
        why: "iced, as we ask it: the model has BSF, BSR and WBINVD only; capstone TZCNT, LZCNT and WBNOINVD",
        explains: |c| {
            ["bsf is tzcnt", "bsr is lzcnt", "wbinvd is wbnoinvd"].contains(&c.kind().as_str()) && c.same_operands()
        },
    },
    Rule {
        why: "iced: there are CR0, CR2, CR3, CR4 only, and no test registers; capstone has sixteen of each",
        explains: |c| c.ours.is_none() && c.opcode().starts_with(&[0x0f]) && (0x20..=0x26).contains(&c.opcode()[1]),
    },
    Rule {
        why: "iced: GETSEC, SWAPGS and another maker's cryptography are not of this processor; capstone has them",
        explains: |c| {
            let opcode = c.opcode();
            c.ours.is_none() && (matches!(opcode[..2], [0x0f, 0x37 | 0xa6 | 0xa7]) || opcode[..3] == [0x0f, 1, 0xf8])
        },
    },
    Rule {
        why: "iced: UD0 and UD1 have a ModR/M byte (Vol. 2, \"UD\"); capstone reads none",
        explains: |c| c.is(&["ud0", "ud1"]) && c.theirs.as_ref().is_none_or(|theirs| theirs.operands.is_empty()),
    },
    Rule {
        why: "iced: DC D0, DC D8, DD C8, DE D0, DF C8, DF D0, DF D8 are x87 instructions still; capstone forgot them",
        explains: |c| c.theirs.is_none() && c.is(&["fcom", "fcomp", "fstp", "fxch"]),
    },
    Rule {
        why: "iced: 0F 18 to 0F 1F do nothing on the model (Vol. 2, \"NOP\"); capstone knows some, by newer meanings",
        explains: |c| c.is(&["reservednop"]),
    },
    Rule {
        why: "iced: the fences ignore r/m of ModR/M; capstone knows them with 0 only",
        explains: |c| c.theirs.is_none() && c.is(&["lfence", "mfence", "sfence"]),
    },
    Rule {
        why: "iced: CMPxx has a predicate; capstone makes names of the first eight, whose numbers mean other instructions",
        explains: |c| match (&c.ours, &c.theirs) {
            (Some(ours), Some(theirs)) => {
                c.is(&["cmpps", "cmppd", "cmpss", "cmpsd"])
                    && ours.len == theirs.len
                    && matches!(&ours.operands[..], [rest @ .., Operand::Constant(0..8, 8)] if rest == theirs.operands)
            }
            _ => false,
        },
    },
    Rule {
        why: "both: the operands of XLATB and the address of MASKMOVx go without saying; capstone leaves them out",
        explains: |c| c.is(&["xlatb", "maskmovq", "maskmovdqu"]) && c.leaves_out(0),
    },
    Rule {
        why: "both: a shift by 1 has no immediate; capstone leaves the 1 out at times",
        explains: |c| {
            let shift = c.is(&["rcl", "rcr", "rol", "ror", "sal", "shl", "shr", "sar"]);
            shift && c.leaves_out(1)
        },
    },
    Rule {
        why: "both: of a selector's register 16 bits are read; iced names the 32 of the operand size",
        explains: |c| c.is(&["arpl", "lldt", "lmsw", "ltr", "verr", "verw"]) && c.halves(),
    },
    Rule {
        why: "iced: a branch of 32 bits goes anywhere (Vol. 2, \"Jcc\"); with 66 or 67 capstone reads half of its offset",
        explains: |c| c.has(&[0x66, 0x67]) && c.is_near_branch() && c.same_len(),
    },
    Rule {
        why: "iced: MOV to CS is #UD (Vol. 2, \"MOV\"); capstone has it",
        explains: |c| c.ours.is_none() && matches!(c.opcode(), [0x8e, modrm, ..] if modrm >> 3 & 7 == 1),
    },
];

impl Case<'_> {
    pub fn agree(&self) -> bool {
        match (&self.ours, &self.theirs) {
            (Some(ours), Some(theirs)) => {
                let same_name = ours.name == theirs.name || NAMES.contains(&(&ours.name, &theirs.name));
                same_name && self.same_len() && self.same_operands()
            }
            (ours, theirs) => ours.is_none() && theirs.is_none(),
        }
    }

    fn same_len(&self) -> bool {
        self.ours.as_ref().map(|plain| plain.len) == self.theirs.as_ref().map(|plain| plain.len)
    }

    /// Constants are the same if they are in our size; ST(0), which capstone names at times, is left out.
    fn same_operands(&self) -> bool {
        let (Some(ours), Some(theirs)) = (&self.ours, &self.theirs) else { return false };
        let told = |plain: &Plain| -> Vec<Operand> {
            plain.operands.iter().filter(|o| **o != Operand::Register("st(0)".into())).cloned().collect()
        };
        let (ours, theirs) = (told(ours), told(theirs));
        ours.len() == theirs.len() && ours.iter().zip(&theirs).all(|(a, b)| a.means(b))
    }

    /// Whether capstone has our operands but number `i`.
    fn leaves_out(&self, i: usize) -> bool {
        let (Some(ours), Some(theirs)) = (&self.ours, &self.theirs) else { return false };
        let mut rest = ours.operands.clone();
        rest.remove(i);
        self.same_len() && rest == theirs.operands
    }

    /// Whether capstone names the lower halves of our registers.
    fn halves(&self) -> bool {
        let (Some(ours), Some(theirs)) = (&self.ours, &self.theirs) else { return false };
        self.same_len()
            && ours.operands.iter().zip(&theirs.operands).all(|(a, b)| match (a, b) {
                (Operand::Register(a), Operand::Register(b)) => a.ends_with(b.as_str()),
                _ => a == b,
            })
    }

    fn is(&self, names: &[&str]) -> bool {
        self.ours.as_ref().is_some_and(|ours| names.contains(&ours.name.as_str()))
    }

    fn is_near_branch(&self) -> bool {
        self.insn.is_jcc_short_or_near() || self.insn.is_jmp_short_or_near() || self.insn.is_call_near()
    }

    fn prefixes(&self) -> &[u8] {
        let is_prefix = |byte: &u8| matches!(byte, 0x26 | 0x2e | 0x36 | 0x3e | 0x64..=0x67 | 0xf0 | 0xf2 | 0xf3);
        let count = self.bytes.iter().take_while(|&byte| is_prefix(byte)).count();
        &self.bytes[..count]
    }

    fn has(&self, prefixes: &[u8]) -> bool {
        self.prefixes().iter().any(|prefix| prefixes.contains(prefix))
    }

    /// The opcode and what follows, three bytes at least.
    fn opcode(&self) -> &[u8] {
        let opcode = &self.bytes[self.prefixes().len()..];
        if opcode.len() < 3 { &[0; 3] } else { opcode }
    }

    fn is_escaped(&self) -> bool {
        self.opcode()[0] == 0x0f
    }

    /// Whether a prefix, or its absence, is part of the opcode.
    fn mandatory(&self) -> bool {
        self.ours.is_none() || self.insn.op_code().mandatory_prefix() != MandatoryPrefix::None
    }

    /// What differs, to gather cases by.
    pub fn kind(&self) -> String {
        match (&self.ours, &self.theirs) {
            (Some(ours), None) => format!("only iced has {}", ours.name),
            (None, Some(theirs)) => format!("only capstone has {}", theirs.name),
            (Some(ours), Some(theirs)) if ours.name != theirs.name => format!("{} is {}", ours.name, theirs.name),
            (Some(ours), Some(theirs)) if ours.len != theirs.len => format!("length of {}", ours.name),
            (Some(ours), _) => format!("operands of {}", ours.name),
            (None, None) => String::new(),
        }
    }
}

impl fmt::Display for Case<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-bit {:02x?}: iced {:?}, capstone {:?}", self.bits, self.bytes, self.ours, self.theirs)
    }
}

//! The generic operation: calls the instruction's slow function.

use super::{go, handlers};
use crate::{
    Cpu,
    block::{Handler, Op},
    cpu::Leave,
    slow::Flow,
};

/// Executes the operation's instruction by its slow function.
pub(crate) const SLOW: Handler = slow;

handlers! {
    fn slow(cpu, op) {
        if run(cpu, op) {
            go(cpu, op.add(1))
        }
    }
}

/// Whether the block goes on after the instruction.
#[inline(never)]
unsafe fn run(cpu: *mut Cpu, op: *const Op) -> bool {
    // SAFETY: as for handlers; the CPU is borrowed only here, and the instruction lives while its
    // block does, which is until the dispatcher runs again.
    let (cpu, insn, count) = unsafe { (&mut *cpu, Op::insn(op), (*Op::block(op)).count()) };
    let run = &mut cpu.run;
    run.ahead = count - unsafe { u32::from((*op).insn) };
    cpu.state.eip = insn.insn.ip32();
    let result = (insn.slow)(cpu, &insn.insn);

    let run = &mut cpu.run;
    let flow = match result {
        Ok(flow) => flow,
        Err(exception) => {
            run.left += i64::from(std::mem::take(&mut run.ahead));
            run.leave = Leave::Fault(exception);
            return false;
        }
    };
    let disturbed = run.attention || run.watch_hit.is_some() || cpu.mem().has_killed() || cpu.run.left < 0;
    let run = &mut cpu.run;
    let ahead = std::mem::take(&mut run.ahead);
    if flow == Flow::Next && !disturbed {
        return true;
    }
    run.left += i64::from(ahead - 1);
    if matches!(flow, Flow::Next | Flow::Leave | Flow::Exit(_)) {
        cpu.state.eip = insn.insn.next_ip32();
    }
    run.leave = if let Flow::Exit(exit) = flow { Leave::Exit(exit) } else { Leave::Changed };
    false
}

//! The generic operation: calls the instruction's slow function.

use super::{go, handlers, take_float_flags};
use crate::{
    Cpu, Exit,
    block::{Handler, Op},
    cpu::Leave,
    slow::{Flow, Slow, found_late},
};

/// Executes the operation's instruction by its slow function.
pub(crate) const SLOW: Handler = slow;

handlers! {
    #[inline(never)]
    fn slow<>(cpu, op) {
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
    let (cpu, insn, ahead) = unsafe {
        take_float_flags(cpu);
        (&mut *cpu, Op::insn(op), Op::ahead(op))
    };
    #[cfg(test)]
    super::depth::note();
    cpu.run.ahead = ahead;
    cpu.state.eip = insn.insn.ip32();
    let mut function = insn.slow.get();
    if std::ptr::fn_addr_eq(function, found_late as Slow) {
        function = crate::slow::of(&insn.insn);
        insn.slow.set(function);
    }
    let result = function(cpu, &insn.insn);

    let flow = match result {
        Ok(flow) => flow,
        Err(exception) => {
            let run = &mut cpu.run;
            run.left += i64::from(std::mem::take(&mut run.ahead));
            run.leave = Leave::Fault(exception);
            return false;
        }
    };
    if matches!(flow, Flow::Again) {
        // What comes between two iterations saves RF (SDM Vol. 3B, "Instruction-Breakpoint Exception Condition").
        cpu.state.eflags.insert(x86::Eflags::RF);
    }
    let disturbed = cpu.disturbed();
    let run = &mut cpu.run;
    let ahead = std::mem::take(&mut run.ahead);
    if matches!(flow, Flow::Next) && !disturbed {
        return true;
    }
    run.left += i64::from(ahead - 1);
    run.leave = match flow {
        Flow::Exit(exit) => Leave::Exit(exit),
        // The block could have gone on: neither mode nor view are others.
        Flow::Next => Leave::Next,
        _ => Leave::Changed,
    };
    let stays = matches!(flow, Flow::Jump | Flow::Again | Flow::Exit(Exit::TripleFault { .. }));
    if !stays {
        cpu.state.eip = insn.insn.next_ip32();
    }
    false
}

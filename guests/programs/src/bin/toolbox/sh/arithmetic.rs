//! Integer expressions of `$((…))`, by precedence climbing.

/// Where an expression finds and leaves the values of variables.
pub trait Variables {
    /// The value of a variable; empty if it is not set.
    fn get(&self, name: &str) -> String;
    /// Sets a variable.
    fn set(&mut self, name: &str, value: String);
}

type Result<T> = std::result::Result<T, String>;

/// Binary operators by precedence, the weakest first. Longer ones come before those that
/// they begin with.
const BINARY: [&[&str]; 10] = [
    &["||"],
    &["&&"],
    &["|"],
    &["^"],
    &["&"],
    &["==", "!="],
    &["<=", ">=", "<", ">"],
    &["<<", ">>"],
    &["+", "-"],
    &["*", "/", "%"],
];

/// Operators that may be joined with `=`.
const ASSIGNMENT: [&str; 11] = ["<<=", ">>=", "+=", "-=", "*=", "/=", "%=", "&=", "^=", "|=", "="];

/// Deepest nesting; a guard for the stack.
const MAX_DEPTH: u32 = 100;

/// The value of an expression; 0 if it is empty.
pub fn evaluate(text: &str, variables: &mut dyn Variables) -> Result<i64> {
    let mut expression = Expression { text, at: 0, depth: 0, live: true, variables };
    if expression.rest().is_empty() {
        return Ok(0);
    }
    let value = expression.assignment()?;
    match expression.rest() {
        "" => Ok(value),
        rest => Err(format!("arithmetic: `{rest}` unexpected")),
    }
}

struct Expression<'a> {
    text: &'a str,
    at: usize,
    depth: u32,
    /// Off in the branch that `&&`, `||` or `?:` does not take: no assignment, no division by zero.
    live: bool,
    variables: &'a mut dyn Variables,
}

impl<'a> Expression<'a> {
    /// `name = value` and its kin, or an expression without assignment.
    fn assignment(&mut self) -> Result<i64> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err("arithmetic: too deeply nested".into());
        }
        let start = self.at;
        let name = self.name();
        let operator = ASSIGNMENT.into_iter().find(|operator| self.rest().starts_with(operator));
        let is_comparison = self.rest().starts_with("==");
        let value = match operator {
            Some(operator) if !name.is_empty() && !is_comparison => {
                self.take(operator);
                let right = self.assignment()?;
                let value = match operator.strip_suffix('=').unwrap_or_default() {
                    "" => right,
                    operator => self.apply(operator, self.value_of(&name)?, right)?,
                };
                if self.live {
                    self.variables.set(&name, value.to_string());
                }
                value
            }
            _ => {
                self.at = start;
                self.conditional()?
            }
        };
        self.depth -= 1;
        Ok(value)
    }

    fn conditional(&mut self) -> Result<i64> {
        let condition = self.binary(0)?;
        if !self.take("?") {
            return Ok(condition);
        }
        let live = self.live;
        self.live = live && condition != 0;
        let yes = self.assignment()?;
        if !self.take(":") {
            return Err("arithmetic: `:` expected".into());
        }
        self.live = live && condition == 0;
        let no = self.assignment()?;
        self.live = live;
        Ok(if condition != 0 { yes } else { no })
    }

    fn binary(&mut self, level: usize) -> Result<i64> {
        let Some(operators) = BINARY.get(level) else { return self.unary() };
        let mut left = self.binary(level + 1)?;
        loop {
            let rest = self.rest();
            let operator = operators.iter().find(|operator| rest.starts_with(**operator));
            let Some(&operator) = operator.filter(|operator| !is_longer_operator(rest, operator)) else {
                return Ok(left);
            };
            self.take(operator);
            let live = self.live;
            self.live = live && !(operator == "&&" && left == 0 || operator == "||" && left != 0);
            let right = self.binary(level + 1)?;
            left = self.apply(operator, left, right)?;
            self.live = live;
        }
    }

    fn apply(&self, operator: &str, left: i64, right: i64) -> Result<i64> {
        Ok(match operator {
            "||" => i64::from(left != 0 || right != 0),
            "&&" => i64::from(left != 0 && right != 0),
            "|" => left | right,
            "^" => left ^ right,
            "&" => left & right,
            "==" => i64::from(left == right),
            "!=" => i64::from(left != right),
            "<=" => i64::from(left <= right),
            ">=" => i64::from(left >= right),
            "<" => i64::from(left < right),
            ">" => i64::from(left > right),
            "<<" => left.wrapping_shl(right as u32),
            ">>" => left.wrapping_shr(right as u32),
            "+" => left.wrapping_add(right),
            "-" => left.wrapping_sub(right),
            "*" => left.wrapping_mul(right),
            "/" | "%" if right == 0 && !self.live => 0,
            "/" | "%" if right == 0 => return Err("arithmetic: division by zero".into()),
            "/" => left.wrapping_div(right),
            _ => left.wrapping_rem(right),
        })
    }

    fn unary(&mut self) -> Result<i64> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err("arithmetic: too deeply nested".into());
        }
        let value = match self.rest().chars().next() {
            Some('-') if self.take("-") => self.unary()?.wrapping_neg(),
            Some('+') if self.take("+") => self.unary()?,
            Some('!') if self.take("!") => i64::from(self.unary()? == 0),
            Some('~') if self.take("~") => !self.unary()?,
            Some('(') if self.take("(") => {
                let value = self.assignment()?;
                if !self.take(")") {
                    return Err("arithmetic: `)` expected".into());
                }
                value
            }
            Some(c) if c.is_ascii_digit() => {
                let len = self.rest().find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(self.rest().len());
                let digits = self.rest()[..len].to_string();
                self.at += len;
                number(&digits)?
            }
            _ => {
                let name = self.name();
                if name.is_empty() {
                    let found = self.rest().split_whitespace().next().unwrap_or("end");
                    return Err(format!("arithmetic: `{found}` unexpected"));
                }
                self.value_of(&name)?
            }
        };
        self.depth -= 1;
        Ok(value)
    }

    fn value_of(&self, name: &str) -> Result<i64> {
        let value = self.variables.get(name);
        let value = value.trim();
        match value.strip_prefix('-') {
            Some(digits) => number(digits).map(i64::wrapping_neg),
            None if value.is_empty() => Ok(0),
            None => number(value),
        }
    }

    fn name(&mut self) -> String {
        let rest = self.rest();
        if rest.starts_with(|c: char| c.is_ascii_digit()) {
            return String::new();
        }
        let len = rest.find(|c: char| c != '_' && !c.is_ascii_alphanumeric()).unwrap_or(rest.len());
        let name = rest[..len].to_string();
        self.at += len;
        name
    }

    /// What is left, blanks skipped.
    fn rest(&mut self) -> &'a str {
        let rest = &self.text[self.at..];
        self.at = self.text.len() - rest.trim_start().len();
        &self.text[self.at..]
    }

    fn take(&mut self, operator: &str) -> bool {
        let found = self.rest().starts_with(operator);
        if found {
            self.at += operator.len();
        }
        found
    }
}

/// Whether what begins like `operator` is really a longer one: `&` of `&&`, `<` of `<<`, `+` of `+=`.
fn is_longer_operator(rest: &str, operator: &str) -> bool {
    let mut all = BINARY.iter().flat_map(|level| level.iter()).chain(&ASSIGNMENT);
    all.any(|longer| longer.len() > operator.len() && longer.starts_with(operator) && rest.starts_with(longer))
}

/// A number in decimal, `0x…` or, with a leading zero, octal.
fn number(digits: &str) -> Result<i64> {
    let value = match digits.strip_prefix("0x").or(digits.strip_prefix("0X")) {
        Some(hex) => i64::from_str_radix(hex, 16),
        None if digits.len() > 1 && digits.starts_with('0') => i64::from_str_radix(&digits[1..], 8),
        None => digits.parse(),
    };
    value.map_err(|_| format!("arithmetic: `{digits}` is not a number"))
}

//! The page: HTML, style and script of our own around the machines as JSON.

use serde_json::{Value, json};

use super::Drawn;

const PAGE: &str = include_str!("page/page.html");
const STYLE: &str = include_str!("page/style.css");
/// The script's parts, in the order in which they use each other.
const SCRIPT: [&str; 11] = [
    include_str!("page/data.js"),
    include_str!("page/draw.js"),
    include_str!("page/memory.js"),
    include_str!("page/spaces.js"),
    include_str!("page/tables.js"),
    include_str!("page/tlb.js"),
    include_str!("page/time.js"),
    include_str!("page/changes.js"),
    include_str!("page/detail.js"),
    include_str!("page/search.js"),
    include_str!("page/main.js"),
];

/// The whole file.
pub(super) fn of(machines: &[Drawn]) -> String {
    let labels: Vec<&str> = machines.iter().map(|machine| machine.label.as_str()).collect();
    let title = format!("Pagewalk: {}", labels.join(" and "));
    let rows: Vec<Value> =
        machines.iter().map(|machine| json!({"label": machine.label, "picture": machine.picture})).collect();
    // In a script of JSON nothing but `<` can end it early.
    let machines = Value::from(rows).to_string().replace('<', "\\u003c");
    let mut page = String::with_capacity(machines.len() + (256 << 10));
    let mut rest = PAGE;
    while let Some((before, after)) = rest.split_once('@') {
        let (name, after) = after.split_once('@').expect("a place in the page is a word between two @");
        page += before;
        match name {
            "TITLE" => page += &escaped(&title),
            "STYLE" => page += STYLE,
            "SCRIPT" => SCRIPT.iter().for_each(|part| page += part),
            "MACHINES" => page += &machines,
            other => unreachable!("the page has no place for {other}"),
        }
        rest = after;
    }
    page + rest
}

/// Text for HTML.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page() -> String {
        let picture = json!({"notes": ["</script><script>alert(1)</script>"]});
        of(&[Drawn { label: "a <b> & \"c\"".into(), picture }])
    }

    #[test]
    fn what_a_guest_says_cannot_leave_the_json() {
        let page = page();
        assert!(!page.contains("alert(1)</script>"), "it ends the script");
        let json =
            page.split_once("id=\"machines\">").expect("machines").1.split_once("</script>").expect("their end").0;
        let machines: Value = serde_json::from_str(json).expect("JSON");
        assert_eq!(machines[0]["picture"]["notes"][0], "</script><script>alert(1)</script>");
        assert!(page.contains("<title>Pagewalk: a &lt;b&gt; &amp; &quot;c&quot;</title>"));
    }

    #[test]
    fn the_page_is_whole_and_loads_nothing() {
        let page = page();
        assert!(!page.contains("@TITLE@") && !page.contains("@SCRIPT@"));
        assert!(page.trim_end().ends_with("</html>"));
        for word in ["src=", "@import", "fetch(", "XMLHttpRequest", "url("] {
            assert!(!page.contains(word), "{word}");
        }
        for part in SCRIPT {
            assert!(!part.contains("</script"), "a script that ends early");
        }
    }
}

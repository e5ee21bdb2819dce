//! Plugins with more names than anybody would read.

use crate::author::Desk;

#[test]
fn of_very_many_names_the_first_and_those_that_are_refused_are_shown() {
    let imports: String =
        (0..30).map(|n| format!(r#"(import "n{n}" (instance))"#)).collect::<String>();
    let wat = format!(r#"(component (import "flocker:plugin/log@0.1.0" (instance)) {imports})"#);
    let desk = Desk::with(&[("many.wasm", &wat::parse_str(wat).unwrap())]);

    let said = desk.run(&["inspect", "many.wasm"]);

    assert!(
        said.contains("n19   NOT GRANTED\n            and 10 more names; `--json` has them all\n"),
        "{said}"
    );
    assert!(!said.contains("n20"), "{said}");
    let found = desk.json(&["inspect", "many.wasm"]);
    assert_eq!(found["imports"].as_array().unwrap().len(), 31);
}

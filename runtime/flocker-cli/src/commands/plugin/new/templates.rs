//! The templates, which stand beside the SDK that they are for. All languages begin with the same four policies, and
//! share the scenarios that these are tested with; some have a storage backend as well.

use std::{fs, path::Path};

use crate::args::NewHook;

macro_rules! sdk {
    ($path:literal) => {
        include_str!(concat!("../../../../../../sdk/", $path))
    };
}

/// What a project in one language begins with.
pub(super) struct Template {
    pub(super) language: &'static str,
    /// The SDK's folder in a checkout.
    pub(super) sdk: &'static str,
    /// A file that is there, and what it says.
    mark: (&'static str, &'static str),
    /// Files of every project.
    files: Files,
    /// Where the policy's source goes.
    source: &'static str,
    /// The policies themselves, by hook.
    sources: Hooks,
    /// Their tests, in languages that want them in a file of their own.
    tests: Option<(&'static str, Hooks)>,
    /// All files of a storage backend, in languages that have one.
    backend: Option<Files>,
}

/// Paths, and the text of each.
type Files = &'static [(&'static str, &'static str)];

struct Hooks {
    placement: &'static str,
    rebalance: &'static str,
    backups: &'static str,
    failover: &'static str,
}

impl Hooks {
    /// None for what is no policy.
    fn of(&self, hook: NewHook) -> Option<&'static str> {
        match hook {
            NewHook::Placement => Some(self.placement),
            NewHook::Rebalance => Some(self.rebalance),
            NewHook::Backups => Some(self.backups),
            NewHook::Failover => Some(self.failover),
            NewHook::Backend => None,
        }
    }
}

impl Template {
    /// Path and text of every file; placeholders are not filled in yet. None if this language has nothing for it.
    pub(super) fn files_of(&self, hook: NewHook) -> Option<Vec<(&'static str, &'static str)>> {
        if hook == NewHook::Backend {
            return self.backend.map(<[_]>::to_vec);
        }
        let mut files = self.files.to_vec();
        files.push((self.source, self.sources.of(hook)?));
        if let Some((path, tests)) = &self.tests {
            files.push((path, tests.of(hook)?));
        }
        files.push(("scenarios/first.toml", SCENARIOS.of(hook)?));
        Some(files)
    }

    pub(super) fn is_sdk(&self, folder: &Path) -> bool {
        let (file, says) = self.mark;
        fs::read_to_string(folder.join(file)).is_ok_and(|text| text.contains(says))
    }
}

const SCENARIOS: Hooks = Hooks {
    placement: sdk!("scenarios/placement.toml"),
    rebalance: sdk!("scenarios/rebalance.toml"),
    backups: sdk!("scenarios/backups.toml"),
    failover: sdk!("scenarios/failover.toml"),
};

pub(super) const TEMPLATES: &[Template] = &[RUST, C, GO, PYTHON, JAVASCRIPT, TYPESCRIPT];

const RUST: Template = Template {
    language: "rust",
    sdk: "sdk/rust",
    mark: ("Cargo.toml", "name = \"flocker-sdk\""),
    files: &[
        ("Cargo.toml", sdk!("rust/template/manifest.toml")),
        (".cargo/config.toml", sdk!("rust/template/config.toml")),
        (".gitignore", sdk!("rust/template/gitignore")),
        ("README.md", sdk!("rust/template/README.md")),
        ("build.sh", sdk!("rust/template/build.sh")),
    ],
    source: "src/lib.rs",
    sources: Hooks {
        placement: sdk!("rust/template/placement.rs"),
        rebalance: sdk!("rust/template/rebalance.rs"),
        backups: sdk!("rust/template/backups.rs"),
        failover: sdk!("rust/template/failover.rs"),
    },
    tests: None,
    backend: Some(&[
        ("Cargo.toml", sdk!("rust/template/backend/manifest.toml")),
        (".cargo/config.toml", sdk!("rust/template/config.toml")),
        (".gitignore", sdk!("rust/template/gitignore")),
        ("README.md", sdk!("rust/template/backend/README.md")),
        ("build.sh", sdk!("rust/template/build.sh")),
        ("src/lib.rs", sdk!("rust/template/backend/lib.rs")),
    ]),
};

const C: Template = Template {
    language: "c",
    sdk: "sdk/c",
    mark: ("include/flocker.h", "#define FLOCKER_POLICY"),
    files: &[
        (".gitignore", sdk!("c/template/gitignore")),
        ("README.md", sdk!("c/template/README.md")),
        ("build.sh", sdk!("c/template/build.sh")),
    ],
    source: "policy.c",
    sources: Hooks {
        placement: sdk!("c/template/placement.c"),
        rebalance: sdk!("c/template/rebalance.c"),
        backups: sdk!("c/template/backups.c"),
        failover: sdk!("c/template/failover.c"),
    },
    tests: None,
    backend: None,
};

const GO: Template = Template {
    language: "go",
    sdk: "sdk/go",
    mark: ("go.mod", "module flocker"),
    files: &[
        (".gitignore", sdk!("go/template/gitignore")),
        ("README.md", sdk!("go/template/README.md")),
        ("build.sh", sdk!("go/template/build.sh")),
        ("go.mod", sdk!("go/template/manifest.txt")),
    ],
    source: "policy.go",
    sources: Hooks {
        placement: sdk!("go/template/placement.txt"),
        rebalance: sdk!("go/template/rebalance.txt"),
        backups: sdk!("go/template/backups.txt"),
        failover: sdk!("go/template/failover.txt"),
    },
    tests: Some((
        "policy_test.go",
        Hooks {
            placement: sdk!("go/template/placement_test.txt"),
            rebalance: sdk!("go/template/rebalance_test.txt"),
            backups: sdk!("go/template/backups_test.txt"),
            failover: sdk!("go/template/failover_test.txt"),
        },
    )),
    backend: None,
};

const PYTHON: Template = Template {
    language: "python",
    sdk: "sdk/python",
    mark: ("pyproject.toml", "name = \"flocker-sdk\""),
    files: &[
        (".gitignore", sdk!("python/template/gitignore")),
        ("README.md", sdk!("python/template/README.md")),
        ("build.sh", sdk!("python/template/build.sh")),
        ("pyproject.toml", sdk!("python/template/pyproject.toml")),
    ],
    source: "policy.py",
    sources: Hooks {
        placement: sdk!("python/template/placement.py"),
        rebalance: sdk!("python/template/rebalance.py"),
        backups: sdk!("python/template/backups.py"),
        failover: sdk!("python/template/failover.py"),
    },
    tests: Some((
        "test_policy.py",
        Hooks {
            placement: sdk!("python/template/test_placement.py"),
            rebalance: sdk!("python/template/test_rebalance.py"),
            backups: sdk!("python/template/test_backups.py"),
            failover: sdk!("python/template/test_failover.py"),
        },
    )),
    backend: None,
};

const JAVASCRIPT: Template = Template {
    language: "javascript",
    sdk: "sdk/javascript",
    mark: ("package.json", "\"name\": \"flocker-sdk\""),
    files: &[
        (".gitignore", sdk!("javascript/template/gitignore")),
        ("README.md", sdk!("javascript/template/README.md")),
        ("build.sh", sdk!("javascript/template/build.sh")),
        ("package.json", sdk!("javascript/template/package.json")),
    ],
    source: "policy.js",
    sources: JAVASCRIPT_SOURCES,
    tests: Some(("policy.test.js", JAVASCRIPT_TESTS)),
    backend: None,
};

/// The same policies: what `policy({ … })` takes gives its functions their types.
const TYPESCRIPT: Template = Template {
    language: "typescript",
    files: &[
        (".gitignore", sdk!("javascript/template/gitignore")),
        ("README.md", sdk!("javascript/template/README.md")),
        ("build.sh", sdk!("javascript/template/build.sh")),
        ("package.json", sdk!("javascript/template/package.typescript.json")),
        ("tsconfig.json", sdk!("javascript/template/tsconfig.json")),
    ],
    source: "policy.ts",
    tests: Some(("policy.test.ts", JAVASCRIPT_TESTS)),
    ..JAVASCRIPT
};

const JAVASCRIPT_SOURCES: Hooks = Hooks {
    placement: sdk!("javascript/template/placement.js"),
    rebalance: sdk!("javascript/template/rebalance.js"),
    backups: sdk!("javascript/template/backups.js"),
    failover: sdk!("javascript/template/failover.js"),
};

const JAVASCRIPT_TESTS: Hooks = Hooks {
    placement: sdk!("javascript/template/placement.test.js"),
    rebalance: sdk!("javascript/template/rebalance.test.js"),
    backups: sdk!("javascript/template/backups.test.js"),
    failover: sdk!("javascript/template/failover.test.js"),
};

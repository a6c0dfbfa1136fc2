//! A domain's definition as JSON, in which it travels: in journals, recorders and run directories.
//!
//! ```text
//! {"number":16,"name":"lab",
//!  "kinds":[{"code":0,"name":"link.flap","identity":"occurrence","sampled":false,
//!            "fields":[{"name":"rtt_ns","type":"u64","offset":0},
//!                      {"name":"cause","type":"name","offset":8,"names":["fiber","power"]}],
//!            "path":["down","up"]}],
//!  "states":[{"name":"up","next":["down"],"terminal":false},{"name":"down","next":["up"],"terminal":true}],
//!  "initial":"up"}
//! ```
//!
//! `states` and `initial` are there where the domain's events tell of a life, and `path` where a kind leads somewhere: a list of
//! states, or one of two: `{"by":FIELD,"zero":[…],"other":[…]}` by a field of the payload that is zero or is not, and
//! `{"from":STATE,"way":[…],"other":[…]}` by the state that the entity is in. Readers leave members alone that they do not know.

use crate::domain::definition::DomainDef;
use crate::domain::kind::KindDef;
use crate::domain::machine::{STATES_MAX, StateTable, TransitionPath, states};
use crate::domain::schema::Schema;
use crate::domain::schema_error::SchemaError;
use crate::event::json::{Members, push_list, push_number, push_text};
use crate::event::kind::{CODES_PER_DOMAIN, DOMAIN_COUNT};
use crate::event::{Domain, EventKind, Field, FieldType, Identity, Json, JsonError, Record, Shared};

/// Why a text is no definition of a domain.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SchemaTextError {
    /// It is longer than a definition can be.
    #[error("a definition of {len} bytes is too long; it can have {max} bytes")]
    TooLong {
        /// Its length in bytes.
        len: usize,
        /// What it can have.
        max: usize,
    },
    /// It is no JSON.
    #[error("a domain's definition is no JSON: {0}")]
    Json(#[from] JsonError),
    /// A member is missing or says something else than it should.
    #[error("in a domain's definition, {place} is to have \"{member}\": {expected}")]
    Member {
        /// Where it was looked for.
        place: String,
        /// The member's name.
        member: &'static str,
        /// What belongs there.
        expected: &'static str,
    },
    /// The definition contradicts itself.
    #[error(transparent)]
    Schema(#[from] SchemaError),
}

impl DomainDef {
    /// Bytes that a definition's text can have.
    pub const JSON_LEN_MAX: usize = 1 << 20;

    /// Returns the definition as compact JSON.
    #[must_use]
    pub fn to_json(&self) -> String {
        let mut out = String::new();
        push_number(&mut out, format_args!("{{\"number\":{},\"name\":", self.domain.number()));
        push_text(&mut out, &self.name);
        out.push_str(",\"kinds\":");
        push_list(&mut out, &self.kinds, |out, kind| push_kind(out, kind, self.states.as_deref()));
        if let Some(table) = &self.states {
            out.push_str(",\"states\":");
            let numbered: Vec<_> = (0..).zip(&table.states).collect();
            push_list(&mut out, &numbered, |out, (number, name)| push_state(out, table, *number, name));
            out.push_str(",\"initial\":");
            push_text(&mut out, table.name(table.initial).map_or("", |name| name));
        }
        out.push('}');
        out
    }

    /// Reads a definition from JSON, however it is spaced, and checks it as a whole.
    ///
    /// # Errors
    /// When the text is too long, no JSON, or no sound definition.
    pub fn from_json(text: &str) -> Result<DomainDef, SchemaTextError> {
        if text.len() > DomainDef::JSON_LEN_MAX {
            return Err(SchemaTextError::TooLong { len: text.len(), max: DomainDef::JSON_LEN_MAX });
        }
        let text = Json::new(text)?.compact();
        let place = Place { members: Members::of(&text), name: String::from("the domain") };
        let def = read_domain(&place)?;
        Schema::empty().merge(&def)?;
        Ok(def)
    }
}

impl Schema {
    /// Bytes that a schema's text can have.
    pub const JSON_LEN_MAX: usize = 8 << 20;
    const FORM: &str = "panther-events/schema/1";

    /// Returns the definitions of all domains as JSON: an object with the member `schema`, which says
    /// `panther-events/schema/1`, and `domains`, a line each as [`DomainDef::to_json`] gives it.
    #[must_use]
    pub fn to_json(&self) -> String {
        let mut out = format!("{{\"schema\":\"{}\",\"domains\":[", Schema::FORM);
        for (at, domain) in self.domains().enumerate() {
            out.push_str(if at > 0 { ",\n" } else { "\n" });
            out.push_str(&domain.to_json());
        }
        out.push_str("\n]}\n");
        out
    }

    /// Reads a schema from JSON: its domains, and this crate's own for the rest, as [`Schema::of_file`] does.
    ///
    /// # Errors
    /// When the text is too long, no JSON, of another form, or its domains are not sound or contradict each other.
    pub fn from_json(text: &str) -> Result<Schema, SchemaTextError> {
        if text.len() > Schema::JSON_LEN_MAX {
            return Err(SchemaTextError::TooLong { len: text.len(), max: Schema::JSON_LEN_MAX });
        }
        let text = Json::new(text)?.compact();
        let place = Place { members: Members::of(&text), name: String::from("the schema") };
        if place.text("schema")? != Schema::FORM {
            return Err(place.wrong("schema", Schema::FORM));
        }
        let domains = place.list("domains", DOMAIN_COUNT)?;
        let domains = domains.into_iter().map(|raw| read_domain(&place.inner("a domain", raw)));
        Ok(Schema::of_file(&domains.collect::<Result<Vec<_>, _>>()?)?)
    }
}

fn push_names(out: &mut String, names: &[Shared<str>]) {
    push_list(out, names, |out, name| push_text(out, name));
}

fn push_kind(out: &mut String, kind: &KindDef, table: Option<&StateTable>) {
    push_number(out, format_args!("{{\"code\":{},\"name\":", kind.kind.code()));
    push_text(out, &kind.name);
    out.push_str(",\"identity\":");
    push_text(out, identity_name(kind.identity));
    push_number(out, format_args!(",\"sampled\":{},\"fields\":", kind.sampled));
    push_list(out, &kind.fields, |out, field| {
        out.push_str("{\"name\":");
        push_text(out, &field.name);
        push_number(out, format_args!(",\"type\":\"{}\",\"offset\":{}", type_name(&field.ty), field.offset));
        if let FieldType::Name(names) = &field.ty {
            out.push_str(",\"names\":");
            push_names(out, names);
        }
        out.push('}');
    });
    if let Some(table) = table {
        push_path(out, table, kind.kind.code());
    }
    out.push('}');
}

fn push_path(out: &mut String, table: &StateTable, code: u8) {
    let way = |out: &mut String, way: &[u8]| {
        push_list(out, way, |out, state| push_text(out, table.name(*state).map_or("", |name| name)));
    };
    match table.paths.get(usize::from(code)) {
        None | Some(TransitionPath::Stay) => {}
        Some(TransitionPath::To(path)) => {
            out.push_str(",\"path\":");
            way(out, path);
        }
        Some(TransitionPath::By { field, zero, other }) => {
            out.push_str(",\"path\":{\"by\":");
            push_text(out, &field.name);
            out.push_str(",\"zero\":");
            way(out, zero);
            out.push_str(",\"other\":");
            way(out, other);
            out.push('}');
        }
        Some(TransitionPath::From { state, way: one, other }) => {
            out.push_str(",\"path\":{\"from\":");
            push_text(out, table.name(*state).map_or("", |name| name));
            out.push_str(",\"way\":");
            way(out, one);
            out.push_str(",\"other\":");
            way(out, other);
            out.push('}');
        }
    }
}

fn push_state(out: &mut String, table: &StateTable, number: u8, name: &str) {
    out.push_str("{\"name\":");
    push_text(out, name);
    out.push_str(",\"next\":");
    let next: Vec<Shared<str>> = (0..)
        .zip(&table.states)
        .filter(|(next, _)| table.allows(number, *next))
        .map(|(_, name)| name.clone())
        .collect();
    push_names(out, &next);
    push_number(out, format_args!(",\"terminal\":{}}}", table.is_terminal(number)));
}

/// An object of the text, and what errors call it.
struct Place<'a> {
    members: Members<'a>,
    name: String,
}

impl<'a> Place<'a> {
    fn wrong(&self, member: &'static str, expected: &'static str) -> SchemaTextError {
        SchemaTextError::Member { place: self.name.clone(), member, expected }
    }

    fn text(&self, member: &'static str) -> Result<String, SchemaTextError> {
        let text = self.members.text(member);
        text.map(Into::into).ok_or_else(|| self.wrong(member, "a text"))
    }

    fn number<T: std::str::FromStr>(&self, member: &'static str) -> Result<T, SchemaTextError> {
        let number = self.members.raw(member).and_then(|raw| raw.parse().ok());
        number.ok_or_else(|| self.wrong(member, "a small number"))
    }

    fn flag(&self, member: &'static str) -> Result<bool, SchemaTextError> {
        self.number(member).map_err(|_| self.wrong(member, "true or false"))
    }

    /// The values of a list of at most `max`.
    fn list(&self, member: &'static str, max: usize) -> Result<Vec<&'a str>, SchemaTextError> {
        let is_list = self.members.raw(member).is_some_and(|raw| raw.starts_with('['));
        let values: Vec<_> = self.members.values(member).take(max + 1).collect();
        if is_list && values.len() <= max {
            Ok(values)
        } else {
            Err(self.wrong(member, "a list that is not too long"))
        }
    }

    fn names(&self, member: &'static str, max: usize) -> Result<Vec<String>, SchemaTextError> {
        let unquoted = |raw| crate::event::json::unquoted(raw).map(Into::into);
        let names = self.list(member, max)?.into_iter().map(unquoted).collect::<Option<_>>();
        names.ok_or_else(|| self.wrong(member, "a list of texts"))
    }

    /// An object in a list of this one.
    fn inner(&self, name: &str, raw: &'a str) -> Place<'a> {
        Place { members: Members::of(raw), name: name.to_owned() }
    }
}

fn read_domain(place: &Place<'_>) -> Result<DomainDef, SchemaTextError> {
    let domain = Domain::new(place.number("number")?);
    let domain = domain.ok_or_else(|| place.wrong("number", "the number of a domain"))?;
    let mut def =
        DomainDef { domain, name: place.text("name")?.into(), kinds: Vec::new().into(), states: None };
    let kinds = place.list("kinds", CODES_PER_DOMAIN)?.into_iter().map(|raw| place.inner("a kind", raw));
    let kinds: Vec<Place<'_>> = kinds.collect();
    def.kinds = kinds.iter().map(|kind| read_kind(kind, domain)).collect::<Result<_, _>>()?;
    if place.members.raw("states").is_some() {
        def.states = Some(read_states(place, &def, &kinds)?);
    }
    Ok(def)
}

fn read_kind(place: &Place<'_>, domain: Domain) -> Result<KindDef, SchemaTextError> {
    let kind = EventKind::try_new(domain, place.number("code")?);
    let kind = kind.ok_or_else(|| place.wrong("code", "the code of a kind"))?;
    let identity = place.text("identity")?;
    let known = [Identity::Occurrence, Identity::Digest, Identity::Content];
    let identity = known.into_iter().find(|known| identity_name(*known) == identity);
    let fields = place.list("fields", Record::PAYLOAD_LEN)?.into_iter();
    let fields = fields.map(|raw| read_field(&place.inner("a field", raw))).collect::<Result<_, _>>()?;
    Ok(KindDef {
        kind,
        name: place.text("name")?.into(),
        identity: identity.ok_or_else(|| place.wrong("identity", "occurrence, digest or content"))?,
        sampled: place.flag("sampled")?,
        fields,
    })
}

fn read_field(place: &Place<'_>) -> Result<Field, SchemaTextError> {
    let ty = place.text("type")?;
    let ty = if ty == NAMES {
        FieldType::Name(place.names("names", 255)?.into_iter().map(Shared::from).collect())
    } else {
        let known = PLAIN_TYPES.iter().find(|(_, name)| *name == ty).map(|(ty, _)| ty.clone());
        known.ok_or_else(|| place.wrong("type", "the type of a field that this version knows"))?
    };
    Ok(Field { name: place.text("name")?.into(), ty, offset: place.number("offset")? })
}

fn read_states(
    place: &Place<'_>,
    def: &DomainDef,
    kinds: &[Place<'_>],
) -> Result<Shared<StateTable>, SchemaTextError> {
    let list = place.list("states", STATES_MAX)?.into_iter().map(|raw| place.inner("a state", raw));
    let list: Vec<Place<'_>> = list.collect();
    let names: Vec<String> = list.iter().map(|state| state.text("name")).collect::<Result<_, _>>()?;
    let number = |place: &Place<'_>, member, name: &str| {
        let number = (0..).zip(&names).find(|(_, known)| *known == name).map(|(number, _)| number);
        number.ok_or_else(|| place.wrong(member, "names of states of the domain"))
    };
    let way = |place: &Place<'_>, member| -> Result<Vec<u8>, SchemaTextError> {
        let way = place.names(member, STATES_MAX)?;
        way.iter().map(|name| number(place, member, name)).collect()
    };
    let next: Vec<u32> =
        list.iter().map(|state| Ok(states(&way(state, "next")?))).collect::<Result<_, SchemaTextError>>()?;
    let mut terminal = Vec::new();
    for (number, state) in (0..).zip(&list) {
        if state.flag("terminal")? {
            terminal.push(number);
        }
    }
    let mut paths = vec![TransitionPath::Stay; CODES_PER_DOMAIN];
    for (kind, place) in def.kinds.iter().zip(kinds) {
        let Some(raw) = place.members.raw("path") else { continue };
        let fork = place.inner("a path", raw);
        let path = if raw.starts_with('[') {
            TransitionPath::To(way(place, "path")?.into())
        } else if let Some(by) = fork.members.text("by") {
            let field = kind.fields.iter().find(|field| *field.name == *by).cloned();
            let field = field.ok_or_else(|| fork.wrong("by", "the name of a field of the kind"))?;
            let field = Shared::Counted(field.into());
            TransitionPath::By { field, zero: way(&fork, "zero")?.into(), other: way(&fork, "other")?.into() }
        } else {
            let state = number(&fork, "from", &fork.text("from")?)?;
            TransitionPath::From { state, way: way(&fork, "way")?.into(), other: way(&fork, "other")?.into() }
        };
        if let Some(slot) = paths.get_mut(usize::from(kind.kind.code())) {
            *slot = path;
        }
    }
    let last = paths.iter().rposition(|path| *path != TransitionPath::Stay);
    paths.truncate(last.map_or(0, |last| last + 1));
    let initial = number(place, "initial", &place.text("initial")?)?;
    let (domain, terminal, paths) = (def.domain, states(&terminal), paths.into());
    let names = names.into_iter().map(Shared::from).collect();
    let table = StateTable { domain, states: names, initial, terminal, next: next.into(), paths };
    Ok(Shared::Counted(table.into()))
}

fn identity_name(identity: Identity) -> &'static str {
    match identity {
        Identity::Occurrence => "occurrence",
        Identity::Digest => "digest",
        Identity::Content => "content",
    }
}

/// The type of fields that choose among names.
const NAMES: &str = "name";

const PLAIN_TYPES: &[(FieldType, &str)] = &[
    (FieldType::U8, "u8"),
    (FieldType::U16, "u16"),
    (FieldType::U32, "u32"),
    (FieldType::U64, "u64"),
    (FieldType::I64, "i64"),
    (FieldType::F64, "f64"),
    (FieldType::Symbol, "symbol"),
    (FieldType::Detail, "document"),
    (FieldType::Bool, "bool"),
    (FieldType::OptU16, "opt_u16"),
    (FieldType::OptU24, "opt_u24"),
    (FieldType::OptU32, "opt_u32"),
    (FieldType::OptU56, "opt_u56"),
    (FieldType::OptU64, "opt_u64"),
    (FieldType::OptI64, "opt_i64"),
    (FieldType::OptF64, "opt_f64"),
];

fn type_name(ty: &FieldType) -> &'static str {
    PLAIN_TYPES.iter().find(|(known, _)| known == ty).map_or(NAMES, |(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::built_in::BUILT_IN;
    use crate::domain::schema_error::FieldFault;

    const LAB: &str = r#"{"number":16,"name":"lab","kinds":[
        {"code":0,"name":"link.flap","identity":"occurrence","sampled":false,
         "fields":[{"name":"rtt_ns","type":"u64","offset":0},
                   {"name":"cause","type":"name","offset":8,"names":["fiber","power"]},
                   {"name":"good","type":"bool","offset":9}],
         "path":["down","up"]},
        {"code":3,"name":"checked","identity":"digest","sampled":true,
         "fields":[{"name":"good","type":"bool","offset":0}],
         "path":{"by":"good","zero":["down"],"other":["up"]}},
        {"code":5,"name":"seen","identity":"content","sampled":true,"fields":[]},
        {"code":7,"name":"tried","identity":"content","sampled":true,"fields":[],
         "path":{"from":"down","way":["up"],"other":["up","down"]}}],
     "states":[{"name":"up","next":["down"],"terminal":false},{"name":"down","next":["up"],"terminal":true}],
     "initial":"up","of a later version":{"x":[1,2]}}"#;

    #[test]
    fn this_crates_domains_read_back_as_they_are() {
        for def in BUILT_IN {
            let text = def.to_json();
            let read = DomainDef::from_json(&text).unwrap();
            assert_eq!(read, *def, "{}", def.name);
            assert_eq!(read.to_json(), text);
        }
    }

    #[test]
    fn a_text_is_read_for_what_it_says() {
        let lab = DomainDef::from_json(LAB).unwrap();
        assert_eq!((lab.domain, &*lab.name, lab.kinds.len()), (Domain::FIRST_USER, "lab", 4));
        let [flap, checked, seen, _] = &*lab.kinds else { panic!("{lab:?}") };
        assert_eq!((&*flap.name, flap.kind.code(), flap.sampled), ("link.flap", 0, false));
        let names: Shared<[Shared<str>]> = ["fiber", "power"].map(Shared::from).into();
        assert_eq!(flap.fields[1], Field { name: "cause".into(), ty: FieldType::Name(names), offset: 8 });
        assert_eq!([checked.identity, seen.identity], [Identity::Digest, Identity::Content]);
        let states = lab.states.as_ref().unwrap();
        assert_eq!((states.initial, states.terminal, &*states.next), (0, 0b10, &[0b10, 0b01][..]));
        assert_eq!(states.path(0, 0, &[0; 24]), [1, 0]);
        assert_eq!((states.path(0, 3, &[0; 24]), states.path(0, 3, &[1; 24])), (&[1][..], &[0][..]));
        assert_eq!((states.path(1, 7, &[0; 24]), states.path(0, 7, &[0; 24])), (&[0][..], &[0, 1][..]));
        assert!(states.path(0, 5, &[0; 24]).is_empty());
        assert_eq!(DomainDef::from_json(&lab.to_json()).unwrap(), lab);
    }

    #[test]
    fn a_schema_reads_back_as_it_is() {
        let mut schema = Schema::new();
        schema.register(&DomainDef::from_json(LAB).unwrap()).unwrap();
        let read = Schema::from_json(&schema.to_json()).unwrap();
        assert!(read.domains().eq(schema.domains()));
        assert_eq!(read.name(EventKind::new(Domain::FIRST_USER, 0)), Some("lab.link.flap"));
        let twice = format!(
            r#"{{"schema":"panther-events/schema/1","domains":[{LAB},{}]}}"#,
            LAB.replace("lab", "rig")
        );
        assert!(matches!(
            Schema::from_json(&twice),
            Err(SchemaTextError::Schema(SchemaError::DomainTaken { .. }))
        ));
        let other = schema.to_json().replace("schema/1", "schema/2");
        assert!(matches!(Schema::from_json(&other), Err(SchemaTextError::Member { member: "schema", .. })));
    }

    #[test]
    fn what_is_no_definition_is_refused_by_name() {
        let refused = |from: &str, to: &str| {
            assert!(LAB.contains(from), "{from}");
            DomainDef::from_json(&LAB.replacen(from, to, 1)).unwrap_err()
        };
        for (from, to, place, member) in [
            (r#""number":16"#, r#""number":32"#, "the domain", "number"),
            (r#""number":16"#, r#""number":-1"#, "the domain", "number"),
            (r#""name":"lab""#, r#""name":7"#, "the domain", "name"),
            (r#""code":0"#, r#""code":64"#, "a kind", "code"),
            (r#""identity":"digest""#, r#""identity":"hash""#, "a kind", "identity"),
            (r#""sampled":false"#, r#""sampled":0"#, "a kind", "sampled"),
            (r#""type":"u64""#, r#""type":"u128""#, "a field", "type"),
            (r#""offset":9"#, r#""offset":9.5"#, "a field", "offset"),
            (r#""names":["fiber","power"]"#, r#""names":["fiber",2]"#, "a field", "names"),
            (r#""path":["down","up"]"#, r#""path":["down","off"]"#, "a kind", "path"),
            (r#""by":"good""#, r#""by":"bad""#, "a path", "by"),
            (r#""from":"down","#, "", "a path", "from"),
            (r#""initial":"up""#, r#""initial":"new""#, "the domain", "initial"),
            (r#""next":["up"]"#, r#""next":"up""#, "a state", "next"),
        ] {
            let error = refused(from, to);
            let is = |error: &SchemaTextError| matches!(error, SchemaTextError::Member { place: p, member: m, .. } if p == place && *m == member);
            assert!(is(&error), "{to}: {error}");
        }
        let field = |field: &str, fault| {
            let (domain, kind) = ("lab".into(), "link.flap".into());
            SchemaTextError::Schema(SchemaError::Field { domain, kind, field: field.into(), fault })
        };
        let overlaps = FieldFault::Overlaps { other: "rtt_ns".into() };
        assert_eq!(refused(r#""offset":8"#, r#""offset":7"#), field("cause", overlaps));
        let outside = FieldFault::Outside { offset: 24, size: 1 };
        assert_eq!(refused(r#""offset":9"#, r#""offset":24"#), field("good", outside));
        assert_eq!(
            refused(r#""name":"cause""#, r#""name":"rtt_ns""#),
            field("rtt_ns", FieldFault::NameTaken)
        );
        assert_eq!(refused(r#""name":"cause""#, r#""name":"a b""#), field("a b", FieldFault::BadName));
        let same = r#""names":["power","power"]"#;
        assert_eq!(refused(r#""names":["fiber","power"]"#, same), field("cause", FieldFault::Names(2)));
        assert_eq!(
            refused(r#""code":3"#, r#""code":0"#),
            SchemaError::CodeTaken {
                domain: "lab".into(),
                first: "link.flap".into(),
                second: "checked".into(),
                code: 0
            }
            .into()
        );
        assert!(matches!(DomainDef::from_json("{"), Err(SchemaTextError::Json(_))));
        let long = format!("{LAB}{}", " ".repeat(DomainDef::JSON_LEN_MAX));
        let (len, max) = (long.len(), DomainDef::JSON_LEN_MAX);
        assert_eq!(DomainDef::from_json(&long), Err(SchemaTextError::TooLong { len, max }));
    }

    #[test]
    fn damaged_texts_are_refused_or_sound() {
        let sound = |text: &[u8]| {
            let Ok(text) = std::str::from_utf8(text) else { return };
            if let Ok(def) = DomainDef::from_json(text) {
                assert_eq!(DomainDef::from_json(&def.to_json()).unwrap(), def, "{text}");
            }
        };
        let text = DomainDef::from_json(LAB).unwrap().to_json();
        for at in 0..text.len() {
            sound(&text.as_bytes()[..at]);
            for byte in *b"\0\"[]{},:019azA_-. \\" {
                let mut damaged = text.as_bytes().to_vec();
                damaged[at] = byte;
                sound(&damaged);
                damaged.remove(at);
                sound(&damaged);
            }
        }
    }
}

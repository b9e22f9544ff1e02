//! Greets by an interface that an embedder offers: gets the `name` that the store has, and sets a `greeting`.

wit_bindgen::generate!({
    inline: "
        package my:kv@1.0.0;

        interface store {
            get: func(key: string) -> option<string>;
            set: func(key: string, value: string);
        }

        world greeter {
            import store;
            export greet: func();
        }
    ",
});

use my::kv::store;

struct Greeter;

export!(Greeter);

impl Guest for Greeter {
    fn greet() {
        let name = store::get("name").unwrap_or_else(|| "nobody".to_owned());
        store::set("greeting", &format!("hello, {name}"));
    }
}

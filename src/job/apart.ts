/*
 * The schemas as the build compiles them: bare, each property's in a place of its own, and what several of them say
 * only once. Node compiles a function when it is first called; so a file costs what is written in it, and not what
 * could be. What fits stays the same: only words for people go. A keyword that is not known here is left as it is.
 */

/** A piece of JSON: a schema as ajv takes it. */
type Json = { readonly [keyword: string]: unknown };

/** All that says nothing about whether data fits. */
const WORDS: ReadonlySet<string> = new Set([
  ...['$schema', 'title', 'description', 'default', 'examples'],
  ...['alsoCalled', 'valuesAlsoCalled', 'whenText', 'whenMissing', 'whenValue'],
]);

/** Keywords behind which a schema stands. */
const SCHEMA: ReadonlySet<string> = new Set(['items', 'additionalProperties', 'propertyNames', 'not']);

/** Keywords behind which a list of them stands. */
const SCHEMAS: ReadonlySet<string> = new Set(['anyOf', 'allOf', 'oneOf']);

/**
 * One schema, nothing but `definitions`: those of that name, and the pieces that they share.
 *
 * @param id by which a schema of the whole is called: `ID#/definitions/NAME`
 */
export function takenApart(id: string, schemas: Readonly<Record<string, object>>): Json {
  const pieces = new Map<string, { readonly name: string; readonly piece: Json }>();
  const bare = (schema: object): Json => {
    const said = Object.entries(schema).filter(([keyword]) => !WORDS.has(keyword));
    return Object.fromEntries(said.map(([keyword, value]) => [keyword, bareValue(keyword, value)]));
  };
  const bareValue = (keyword: string, value: unknown): unknown => {
    if (typeof value !== 'object' || value === null) return value;
    if (keyword === 'properties') {
      return Object.fromEntries(Object.entries(value).map(([name, schema]) => [name, apart(schema)]));
    }
    if (SCHEMAS.has(keyword) && Array.isArray(value)) return value.map(bare);
    return SCHEMA.has(keyword) ? apart(value) : value;
  };
  const apart = (schema: object): Json => {
    const piece = bare(schema);
    const text = JSON.stringify(piece);
    const found = pieces.get(text) ?? { name: `piece${pieces.size}`, piece };
    pieces.set(text, found);
    return { $ref: `#/definitions/${found.name}` };
  };
  const forms = Object.entries(schemas).map(([name, schema]) => [name, bare(schema)]);
  const shared = [...pieces.values()].map(({ name, piece }) => [name, piece]);
  return { $id: id, definitions: Object.fromEntries([...forms, ...shared]) };
}

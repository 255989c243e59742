// What Fleet makes of a package's template: {template, vars, yaml, optional} on standard input -> the policies as JSON, one for every set of the
// optional variables. `yaml`: names of variables that are YAML themselves, put in as Fleet does: at the left edge as text, elsewhere as a value.
const [modules] = process.argv.slice(2);
const Handlebars = require(`${modules}/handlebars`);
const yaml = require(`${modules}/js-yaml`);
Handlebars.registerHelper("contains", function (item, list, options) { return Array.isArray(list) && list.includes(item) ? options.fn(this) : options.inverse ? options.inverse(this) : ""; });
Handlebars.registerHelper("escape_string", (value) => (value ? `'${String(value).replace(/'/g, "''").replace(/\n/g, "\n\n")}'` : undefined));
const given = JSON.parse(require("fs").readFileSync(0, "utf8"));
const made = Handlebars.compile(given.template, { noEscape: true });
const policies = [];
for (let set = 0; set < 2 ** given.optional.length; set++) {
  const vars = { ...given.vars }, values = {};
  given.optional.forEach((name, place) => { if (!(set & (1 << place))) delete vars[name]; });
  for (const name of given.yaml) if (name in vars) { values[`##${name}##`] = yaml.load(vars[name]); vars[name] = `"##${name}##"`; }
  let text = made(vars);
  for (const [name, value] of Object.entries(values)) text = text.replace(new RegExp(`^"${name}"\\n`, "gm"), () => yaml.dump(value));
  const put = (value) => typeof value === "string" && value in values ? values[value] : Array.isArray(value) ? value.map(put) : value && typeof value === "object" ? Object.fromEntries(Object.entries(value).map(([name, value]) => [name, put(value)])) : value;
  const policy = put(yaml.load(text));
  if (given.optional.length) delete policy.program;
  policies.push(policy);
}
process.stdout.write(JSON.stringify(policies));

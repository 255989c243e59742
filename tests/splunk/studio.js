// Read definitions of dashboards as JSON, and write what Splunk's own schemas of Dashboard Studio say against each: those of
// Splunk 9.3's time (dashboard-definition 26.3), and after its own migration those of now (29.6).
//
// usage: node studio.js FOLDER-OF-CI-TOOLS <definitions.json
"use strict";
const Module = require("module");
const folder = process.argv[2];

// Modules that draw pages are not installed. No schema uses one; whatever did would become this, and fail below.
const absent = new Proxy(function () {}, { get: (target, name) => (typeof name === "symbol" ? undefined : absent), apply: () => absent, construct: () => absent });
const load = Module._load;
Module._load = function (name, ...rest) {
    try {
        return load.call(this, name, ...rest);
    } catch (error) {
        if (error.code !== "MODULE_NOT_FOUND") throw error;
        return absent;
    }
};
const of = (name) => require(`${folder}/node_modules/@splunk/${name}`);
const Ajv = require(`${folder}/node_modules/ajv`).default;
const visualizations = of("visualization-schemas");
const search = of("datasources/SplunkSearchOptionsSchema").default;
const dictionaries = {
    layoutDict: { grid: {}, absolute: {} },  // without options
    dataSourceDict: { "ds.search": search, "ds.chain": search },
    visualizationDict: {
        "splunk.singlevalue": visualizations.singleValueOptionsSchema,
        "splunk.column": visualizations.columnOptionsSchema,
        "splunk.area": visualizations.areaOptionsSchema,
        "splunk.pie": visualizations.pieOptionsSchema,
        "splunk.map": visualizations.mapOptionsSchema,
        "splunk.table": visualizations.tableOptionsSchema,
    },
    inputDict: { "input.text": of("dashboard-inputs/Text/TextSchema").default, "input.timerange": { token: { type: "string" }, defaultValue: { type: "string" } } },
};
const missing = Object.entries(dictionaries).flatMap(([, types]) => Object.entries(types)).filter(([, options]) => options === absent || !options);
if (missing.length) throw new Error(`no schema of ${missing.map(([type]) => type)}`);
// An option that a visualization does not have: Splunk's schemas let it pass.
const { visualizationDict } = dictionaries;
const unknownOptions = (definition) =>
    Object.entries(definition.visualizations).flatMap(([name, { type, options }]) =>
        Object.keys(options ?? {}).filter((key) => !(key in (visualizationDict[type] ?? {}))).map((key) => `${name}: ${type} has no option ${key}`));

const compile = (schema) => new Ajv({ allErrors: true, strict: false, validateFormats: false }).compile(schema);
const older = require(`${folder}/9.3/node_modules/@splunk/dashboard-definition/DashboardSchema`).createSchemaBasedOnDicts(dictionaries);
const newer = of("dashboard-definition/DashboardSchema").createSchemaBasedOnDicts(dictionaries);
const [validOlder, validNewer] = [compile(older), compile(newer)];
const { migrateToTabsLayout, replaceTokensForObject } = of("dashboard-utils");
const faults = (validate, name) => (validate.errors ?? []).map((error) => `${name}${error.instancePath}: ${error.message} ${JSON.stringify(error.params)}`);

const told = JSON.parse(require("fs").readFileSync(0, "utf8")).map(({ definition, clicks }) => {
    const errors = unknownOptions(definition);
    validOlder(definition);
    errors.push(...faults(validOlder, "9.3"));
    const migrated = migrateToTabsLayout({ definition }).definition;
    validNewer(migrated);
    errors.push(...faults(validNewer, "now"));
    // what a click makes of a handler's options, by Splunk's own code
    const clicked = (clicks ?? []).map(({ options, payload }) => replaceTokensForObject({ value: options, tokens: { default: payload } }));
    return { errors, clicked };
});
console.log(JSON.stringify(told));

// Imports run one way: server → engine → raft. Each module has one door. Pure folders stay pure.
const pure = '^src/(raft/core|engine/machine|engine/patterns)/';
module.exports = {
  forbidden: [
    {
      name: 'no-circular',
      severity: 'error',
      from: {},
      to: { circular: true, viaOnly: { dependencyTypesNot: ['type-only'] } },
    },
    {
      name: 'raft-below-engine',
      severity: 'error',
      from: { path: '^src/raft/' },
      to: { path: '^src/(engine|server|client|cli)/' },
    },
    {
      name: 'engine-below-server',
      severity: 'error',
      from: { path: '^src/engine/' },
      to: { path: '^src/(server|client|cli)/' },
    },
    {
      name: 'core-knows-only-itself',
      severity: 'error',
      from: { path: '^src/raft/core/' },
      to: { pathNot: '^src/raft/core/' },
    },
    {
      name: 'pure-folders-touch-no-platform',
      severity: 'error',
      from: { path: pure },
      to: { dependencyTypes: ['core'] },
    },
    {
      name: 'raft-door-only',
      severity: 'error',
      from: { path: '^src/(engine|server)/' },
      to: { path: '^src/raft/', pathNot: '^src/raft/index[.]ts$' },
    },
    {
      name: 'engine-door-only',
      severity: 'error',
      from: { path: '^src/server/' },
      to: { path: '^src/engine/', pathNot: '^src/engine/index[.]ts$' },
    },
    {
      name: 'engine-modules-by-their-doors',
      severity: 'error',
      from: { path: '^src/engine/([^/]+)/' },
      to: {
        path: '^src/engine/[^/]+/',
        pathNot: ['^src/engine/$1/', '^src/engine/[^/]+/index[.]ts$'],
      },
    },
    {
      name: 'src-not-test',
      severity: 'error',
      from: { path: '^src' },
      to: { path: '^(test|bench)/' },
    },
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.json' },
  },
};

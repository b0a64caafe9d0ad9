// Only what needs types, the size limits, and the determinism bans; Biome does the rest.
import tseslint from 'typescript-eslint';

const deterministic = {
  'no-restricted-globals': [
    'error',
    'setTimeout',
    'setInterval',
    'setImmediate',
    'queueMicrotask',
    'process',
    'Buffer',
    'crypto',
    'performance',
    'console',
    'fetch',
  ],
  'no-restricted-properties': [
    'error',
    { object: 'Date', property: 'now' },
    { object: 'Math', property: 'random' },
  ],
  'no-restricted-syntax': [
    'error',
    {
      selector: 'NewExpression[callee.name="Date"][arguments.length=0]',
      message: 'wall clock in a pure folder',
    },
    { selector: 'AwaitExpression', message: 'a pure folder runs to completion' },
  ],
};

export default tseslint.config(
  { ignores: ['dist', 'coverage', '**/*.config.*', '.dependency-cruiser.cjs', 'test/fixtures'] },
  {
    files: ['**/*.ts'],
    extends: [tseslint.configs.strictTypeChecked],
    languageOptions: {
      parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname },
    },
    rules: {
      '@typescript-eslint/switch-exhaustiveness-check': 'error',
      '@typescript-eslint/restrict-template-expressions': [
        'error',
        { allowNumber: true, allowBoolean: true },
      ],
      '@typescript-eslint/no-confusing-void-expression': ['error', { ignoreArrowShorthand: true }],
      // A port may be satisfied by an async function that happens not to wait.
      '@typescript-eslint/require-await': 'off',
      'max-lines-per-function': ['error', { max: 70, skipComments: true, skipBlankLines: true }],
      'max-lines': ['error', { max: 500, skipComments: true, skipBlankLines: true }],
      'max-params': ['error', 5],
      complexity: ['error', 20],
    },
  },
  {
    files: ['src/raft/core/**/*.ts', 'src/engine/machine/**/*.ts', 'src/engine/patterns/**/*.ts'],
    rules: deterministic,
  },
  {
    files: ['test/**/*.ts', 'bench/**/*.ts'],
    rules: {
      'max-lines-per-function': 'off',
      'max-lines': 'off',
      '@typescript-eslint/no-non-null-assertion': 'off',
    },
  },
);

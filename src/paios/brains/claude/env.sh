# Read by Claude Code's shell before each command: Claude itself needs these, the commands it runs do not.
unset ANTHROPIC_API_KEY ANTHROPIC_AUTH_TOKEN ANTHROPIC_FOUNDRY_API_KEY AWS_BEARER_TOKEN_BEDROCK CLAUDE_CODE_OAUTH_TOKEN
